# Sizes of files, -1 for those that are not there. What was asked for counts as used now.
param($p)
$now = [DateTime]::UtcNow
@{
    sizes = @(foreach ($path in $p.paths) {
        if ([IO.File]::Exists($path)) {
            [IO.File]::SetLastAccessTimeUtc($path, $now)
            (New-Object IO.FileInfo $path).Length
        } else { -1 }
    })
}
