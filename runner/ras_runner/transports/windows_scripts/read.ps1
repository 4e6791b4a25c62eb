# At most so many bytes of a file, its end or from a place on, and its size.
param($p)
if (-not [IO.File]::Exists($p.path)) { return @{ exists = $false } }
$file = [IO.File]::Open($p.path, 'Open', 'Read', [IO.FileShare]'ReadWrite, Delete')
try {
    $from = $p.start
    if ($p.end) { $from = [Math]::Max($p.start, [Math]::Max(0, $file.Length - $p.count)) }
    $null = $file.Seek($from, 'Begin')
    $bytes = New-Object byte[] $p.count
    $read = $file.Read($bytes, 0, $p.count)
    @{ exists = $true; size = $file.Length; data = [Convert]::ToBase64String($bytes, 0, $read) }
} finally { $file.Dispose() }
