# What a Windows host is and has, as one line of JSON. Changes nothing; Windows PowerShell 5.1.
# $parameters: folder (the worker folder), exe (Ras.exe, or empty)
$ErrorActionPreference = 'Stop'
function Get-Fact([scriptblock]$question) { try { & $question } catch { $null } }

$identity = [Security.Principal.WindowsIdentity]::GetCurrent()
$administrators = New-Object Security.Principal.SecurityIdentifier 'S-1-5-32-544'
$policies = 'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\System'
$folder = $parameters.folder
$installed = @(Get-Fact {
    Get-ChildItem -Path 'C:\Program Files (x86)\HEC\HEC-RAS\*\Ras.exe', 'C:\Program Files\HEC\HEC-RAS\*\Ras.exe' -ErrorAction SilentlyContinue |
        ForEach-Object { $_.FullName }
})
if ($parameters.exe) { $installed = @(Get-Fact { (Get-Item -LiteralPath $parameters.exe).FullName }) }
$service = Get-Fact { Get-CimInstance Win32_Service -Filter "Name='RemoteRegistry'" }
$rights = Get-Fact {
    $file = Join-Path ([IO.Path]::GetTempPath()) ('ras-runner-' + [Guid]::NewGuid().ToString('N') + '.inf')
    try {
        & secedit.exe /export /areas USER_RIGHTS /cfg $file /quiet | Out-Null
        @(Get-Content -LiteralPath $file | Where-Object { $_ -match '^Se(Network|Interactive|Batch)LogonRight' })
    } finally { Remove-Item -LiteralPath $file -ErrorAction SilentlyContinue }
}
$system = Get-Fact { Get-CimInstance Win32_OperatingSystem }
[ordered]@{
    computer = $env:COMPUTERNAME
    build = [int][Environment]::OSVersion.Version.Build
    user = $identity.Name
    sids = @($identity.User.Value) + @($identity.Groups | ForEach-Object { $_.Value })
    administrator = (New-Object Security.Principal.WindowsPrincipal $identity).IsInRole($administrators)
    token_filter_policy = Get-Fact { (Get-ItemProperty -LiteralPath $policies).LocalAccountTokenFilterPolicy }
    remote_registry = if ($service) { @($service.State, $service.StartMode) } else { @() }
    sessions = @(Get-Fact { & query.exe session })
    rights = $rights
    ras_exe = @($installed | Where-Object { $_ })
    folder_exists = Test-Path -LiteralPath $folder -PathType Container
    free = Get-Fact { (Get-PSDrive -Name $folder.Substring(0, 1)).Free }
    cores = [Environment]::ProcessorCount
    memory = if ($system) { [long]$system.TotalVisibleMemorySize * 1024 } else { $null }
    now = [DateTimeOffset]::UtcNow.ToUnixTimeSeconds()
} | ConvertTo-Json -Compress -Depth 3
