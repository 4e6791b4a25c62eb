# An archive of some files of a folder, with their hashes; a small one comes along and does not stay.
param($p)
Add-Type -AssemblyName 'System.IO.Compression', 'System.IO.Compression.FileSystem'
$archive = [IO.Compression.ZipFile]::Open($p.archive, 'Create')
try {
    $sums = @(foreach ($name in $p.names) {
        $path = [IO.Path]::Combine($p.folder, $name)
        $null = [IO.Compression.ZipFileExtensions]::CreateEntryFromFile($archive, $path, $name, 'Fastest')
        (Get-FileHash -LiteralPath $path -Algorithm SHA256).Hash
    })
} finally { $archive.Dispose() }
$size = (New-Object IO.FileInfo $p.archive).Length
$data = ''
if ($size -le $p.inline) {
    $data = [Convert]::ToBase64String([IO.File]::ReadAllBytes($p.archive))
    [IO.File]::Delete($p.archive)
}
@{ size = $size; data = $data; sums = $sums }
