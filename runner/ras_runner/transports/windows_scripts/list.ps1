# The files of a folder with their times, and when the attempt claimed its workspace.
param($p)
$claimed = $null
if ([IO.Directory]::Exists($p.claim)) { $claimed = "$([IO.Directory]::GetLastWriteTimeUtc($p.claim).ToFileTimeUtc())" }
$files = @()
if ([IO.Directory]::Exists($p.folder)) {
    $files = @((New-Object IO.DirectoryInfo $p.folder).GetFiles() | ForEach-Object {
        @{ name = $_.Name; size = $_.Length; written = "$($_.LastWriteTimeUtc.ToFileTimeUtc())" }
    })
}
@{ now = "$([DateTime]::UtcNow.ToFileTimeUtc())"; claimed = $claimed; files = $files }
