# What the host is and has, for the doctor. Changes nothing but a file of secedit, which goes again.
param($p)
function Get-Fact([ScriptBlock]$question) { try { & $question } catch { $null } }
$identity = [Security.Principal.WindowsIdentity]::GetCurrent()
$administrators = New-Object Security.Principal.SecurityIdentifier 'S-1-5-32-544'
$policies = 'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\System'
$service = Get-Fact { Get-CimInstance Win32_Service -Filter "Name='RemoteRegistry'" }
$rights = Get-Fact {
    $file = [IO.Path]::Combine([IO.Path]::GetTempPath(), 'ras-runner-' + [Guid]::NewGuid().ToString('N') + '.inf')
    try {
        $null = & "$env:SystemRoot\System32\secedit.exe" /export /areas USER_RIGHTS /cfg $file /quiet
        @(Get-Content -LiteralPath $file | Where-Object { $_ -match '^Se(Network|Interactive|Batch)LogonRight' })
    } finally { Remove-Item -LiteralPath $file -ErrorAction SilentlyContinue }
}
$system = Get-Fact { Get-CimInstance Win32_OperatingSystem }
@{
    computer = $env:COMPUTERNAME
    build = [int][Environment]::OSVersion.Version.Build
    user = $identity.Name
    sids = @($identity.User.Value) + @($identity.Groups | ForEach-Object { $_.Value })
    administrator = (New-Object Security.Principal.WindowsPrincipal $identity).IsInRole($administrators)
    token_filter_policy = Get-Fact { (Get-ItemProperty -LiteralPath $policies).LocalAccountTokenFilterPolicy }
    remote_registry = @(if ($service) { $service.State, $service.StartMode })
    sessions = (& "$env:SystemRoot\System32\cmd.exe" /d /c 'query session 2>&1' | Out-String)
    rights = $rights
    ras_exe = @($p.patterns | ForEach-Object { Get-Item -Path $_ -ErrorAction SilentlyContinue } | ForEach-Object { $_.FullName })
    folder_exists = [IO.Directory]::Exists($p.folder)
    free = Get-Fact { (New-Object IO.DriveInfo $p.folder.Substring(0, 1)).AvailableFreeSpace }
    cores = [Environment]::ProcessorCount
    memory = if ($system) { [int64]$system.TotalVisibleMemorySize * 1024 } else { $null }
    now = [DateTimeOffset]::UtcNow.ToUnixTimeSeconds()
}
