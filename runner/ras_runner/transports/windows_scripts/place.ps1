# Hard links, copies where the file system has none, and private copies.
param($p)
foreach ($place in $p.places) {
    $null = [IO.Directory]::CreateDirectory([IO.Path]::GetDirectoryName($place.target))
    if ([IO.File]::Exists($place.target)) { [IO.File]::Delete($place.target) }
    if ($place.link) {
        try { $null = New-Item -ItemType HardLink -Path $place.target -Value $place.source } catch { $null = $_ }
    }
    if (-not [IO.File]::Exists($place.target)) { [IO.File]::Copy($place.source, $place.target) }
}
@{ }
