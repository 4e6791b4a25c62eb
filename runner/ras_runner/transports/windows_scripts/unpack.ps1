# Files of an archive that has arrived, or comes along, each verified before it gets its name.
param($p)
Add-Type -AssemblyName 'System.IO.Compression', 'System.IO.Compression.FileSystem'
if ($p.data) { [IO.File]::WriteAllBytes($p.archive, [Convert]::FromBase64String($p.data)) }
$archive = [IO.Compression.ZipFile]::OpenRead($p.archive)
try {
    $bad = @(foreach ($file in $p.files) {
        $null = [IO.Directory]::CreateDirectory([IO.Path]::GetDirectoryName($file.target))
        $part = $file.target + '.' + $p.token + '.part'
        [IO.Compression.ZipFileExtensions]::ExtractToFile($archive.GetEntry($file.entry), $part, $true)
        if ((Get-FileHash -LiteralPath $part -Algorithm SHA256).Hash -ne $file.sha256) {
            [IO.File]::Delete($part)
            $file.target
            continue
        }
        [IO.File]::SetLastWriteTimeUtc($part, [DateTime]::UtcNow)
        if ([IO.File]::Exists($file.target)) { [IO.File]::Delete($file.target) }
        [IO.File]::Move($part, $file.target)
    })
} finally { $archive.Dispose() }
[IO.File]::Delete($p.archive)
@{ bad = @($bad) }
