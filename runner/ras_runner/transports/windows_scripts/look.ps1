# All processes, then the files of some attempts: what has ended by then has written its exit.json.
param($p)
function Read-End($path, $count) {
    if (-not [IO.File]::Exists($path)) { return $null }
    $file = [IO.File]::Open($path, 'Open', 'Read', [IO.FileShare]'ReadWrite, Delete')
    try {
        $null = $file.Seek([Math]::Max(0, $file.Length - $count), 'Begin')
        $bytes = New-Object byte[] $count
        $read = $file.Read($bytes, 0, $count)
        [Convert]::ToBase64String($bytes, 0, $read)
    } finally { $file.Dispose() }
}
foreach ($note in $p.notes) {
    $folder = [IO.Path]::GetDirectoryName($note.path)
    if ([IO.Directory]::Exists($folder)) { [IO.File]::WriteAllText($note.path, $note.text) }
}
$commands = @()
$processes = @(Get-CimInstance Win32_Process | Where-Object { $_.CreationDate } | ForEach-Object {
    if ($_.Name -eq 'cmd.exe') { $commands += @{ pid = $_.ProcessId; command = "$($_.CommandLine)" } }
    '{0} {1} {2} {3}' -f $_.ProcessId, $_.ParentProcessId, $_.CreationDate.ToFileTimeUtc(), ($_.KernelModeTime + $_.UserModeTime)
})
$attempts = @(foreach ($attempt in $p.attempts) {
    $claim = [IO.Path]::Combine($attempt.folder, 'claim')
    $exit = [IO.Path]::Combine($attempt.folder, 'exit.json')
    $seconds = $null
    if ([IO.File]::Exists($exit)) {
        $seconds = ([IO.File]::GetLastWriteTimeUtc($exit) - [IO.Directory]::GetLastWriteTimeUtc($claim)).TotalSeconds
    }
    @{
        exit = Read-End $exit 4096
        seconds = $seconds
        tree = Read-End ([IO.Path]::Combine($attempt.folder, 'tree.json')) 65536
        tails = @(foreach ($path in $attempt.tails) { "$(Read-End $path $p.bytes)" })
    }
})
@{ now = "$([DateTime]::UtcNow.ToFileTimeUtc())"; processes = $processes; commands = @($commands); attempts = $attempts }
