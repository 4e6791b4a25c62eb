# Installs or removes the Windows feature OpenSSH Server. Result: before (Installed, NotPresent, ...).
[CmdletBinding(SupportsShouldProcess)]
param(
    [Parameter(Mandatory)] [ValidateSet('present', 'absent')] [string] $State,
    [string] $Source = ''
)

$ErrorActionPreference = 'Stop'
$Ansible.Changed = $false
$capability = Get-WindowsCapability -Online -Name 'OpenSSH.Server*' | Select-Object -First 1
if (-not $capability) { throw 'This Windows has no feature OpenSSH.Server.' }
$before = [string] $capability.State
$Ansible.Result = @{ before = $before }
if (($before -eq 'Installed') -ne ($State -eq 'present')) {
    $Ansible.Changed = $true
    if ($PSCmdlet.ShouldProcess($capability.Name, $State)) {
        $arguments = @{ Online = $true; Name = $capability.Name }
        if ($State -eq 'present') {
            if ($Source) { $arguments += @{ Source = $Source; LimitAccess = $true } }
            $null = Add-WindowsCapability @arguments
        }
        else {
            $null = Remove-WindowsCapability @arguments
        }
    }
}
