# Writes a piece of a file at its place; what lay behind it is cut off, so that a piece may be sent again.
param($p)
$null = [IO.Directory]::CreateDirectory([IO.Path]::GetDirectoryName($p.path))
$bytes = [Convert]::FromBase64String($p.data)
$file = [IO.File]::Open($p.path, 'OpenOrCreate', 'Write', 'None')
try {
    $null = $file.Seek($p.offset, 'Begin')
    $file.Write($bytes, 0, $bytes.Length)
    $file.SetLength($file.Position)
} finally { $file.Dispose() }
@{ }
