# What runs of the Dask worker that a start file begins: in which session, connected to a scheduler's port or not, with
# files that are newer than it, and how many plans. Changes nothing.
[CmdletBinding(SupportsShouldProcess)]
param(
    [Parameter(Mandatory)] [string] $Folder,
    [Parameter(Mandatory)] [int] $Port
)

$Ansible.Changed = $false
$start = Join-Path -Path $Folder -ChildPath 'start.py'
$log = Join-Path -Path $Folder -ChildPath 'work\worker.log'
$all = @(Get-CimInstance -ClassName Win32_Process)
# A Python of a venv is two processes: its starter, and Python itself.
$own = @($all | Where-Object { $_.CommandLine -and $_.CommandLine.Contains($start) })
$ids = @($own | ForEach-Object { $_.ProcessId })
$plans = @($all | Where-Object {
    $ids -contains $_.ParentProcessId -and $_.CommandLine -like '*ras_runner.transports.dask_*task*'
})
$connected = @(Get-NetTCPConnection -State Established -RemotePort $Port -ErrorAction SilentlyContinue |
    Where-Object { $ids -contains $_.OwningProcess })
$begun = $own | ForEach-Object { $_.CreationDate } | Sort-Object | Select-Object -First 1
$newer = @()
if ($begun) {
    $newer = @('start.py', 'worker.json', 'installed.txt', 'config\dask.yaml', 'tls\ca.pem', 'tls\cert.pem', 'tls\key.pem' |
        ForEach-Object { Get-Item -LiteralPath (Join-Path -Path $Folder -ChildPath $_) -ErrorAction SilentlyContinue } |
        Where-Object { $_.LastWriteTime -gt $begun })
}
$said = ''
if (Test-Path -LiteralPath $log) {
    $said = [string](Get-Content -LiteralPath $log -Tail 1 -Encoding UTF8)
}
$Ansible.Result = @{
    sessions  = @($own | ForEach-Object { [int]$_.SessionId } | Sort-Object -Unique)
    running   = $own.Count -gt 0
    connected = $connected.Count -gt 0
    outdated  = $newer.Count -gt 0
    plans     = $plans.Count
    said      = $said
}
