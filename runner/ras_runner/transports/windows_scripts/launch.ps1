# Registers a task for the logged-on user and starts it: a program that is started over the network gets no desktop.
param($p)
$action = New-ScheduledTaskAction -Execute "$env:SystemRoot\System32\cmd.exe" -Argument $p.arguments -WorkingDirectory $p.folder
$principal = New-ScheduledTaskPrincipal -UserId $p.user -LogonType Interactive -RunLevel Limited
$settings = New-ScheduledTaskSettingsSet -AllowStartIfOnBatteries -DontStopIfGoingOnBatteries -DontStopOnIdleEnd `
    -ExecutionTimeLimit ([TimeSpan]::Zero) -MultipleInstances IgnoreNew -Priority 5
$null = Register-ScheduledTask -TaskName $p.task -Description $p.description -Action $action `
    -Principal $principal -Settings $settings
Start-ScheduledTask -TaskName $p.task
$claim = [IO.Path]::Combine($p.folder, 'claim')
$until = [DateTime]::UtcNow.AddSeconds($p.seconds)
while (-not [IO.Directory]::Exists($claim) -and [DateTime]::UtcNow -lt $until) { Start-Sleep -Milliseconds 50 }
@{
    claimed = [IO.Directory]::Exists($claim)
    result = [int64](Get-ScheduledTaskInfo -TaskName $p.task).LastTaskResult
    roots = @(Get-CimInstance Win32_Process -Filter "Name = 'cmd.exe'" | ForEach-Object {
        @{ pid = $_.ProcessId; created = "$($_.CreationDate.ToFileTimeUtc())"; command = "$($_.CommandLine)" }
    })
}
