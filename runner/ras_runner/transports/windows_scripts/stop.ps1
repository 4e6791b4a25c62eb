# Ends processes, each recognised by its number and the time it was created.
param($p)
foreach ($one in $p.processes) {
    $process = Get-CimInstance Win32_Process -Filter "ProcessId = $([uint32]$one.pid)"
    if ($process -and "$($process.CreationDate.ToFileTimeUtc())" -eq $one.created) {
        $null = Invoke-CimMethod -InputObject $process -MethodName Terminate
    }
}
@{ }
