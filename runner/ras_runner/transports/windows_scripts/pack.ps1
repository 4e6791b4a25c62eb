# An archive of some files of a folder, with their hashes.
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
@{ size = (New-Object IO.FileInfo $p.archive).Length; sums = $sums }
