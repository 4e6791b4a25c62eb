# Names of the enabled rules that let anybody in to one of the ports. Changes nothing.
[CmdletBinding(SupportsShouldProcess)]
param(
    [Parameter(Mandatory)] [string[]] $Ports
)

$Ansible.Changed = $false
$wide = Get-NetFirewallPortFilter -Protocol TCP |
    Where-Object { @($_.LocalPort | Where-Object { $Ports -contains $_ }).Count -gt 0 } |
    Get-NetFirewallRule |
    Where-Object { $_.Enabled -eq 'True' -and $_.Direction -eq 'Inbound' -and $_.Action -eq 'Allow' } |
    Where-Object { ($_ | Get-NetFirewallAddressFilter).RemoteAddress -contains 'Any' }
$Ansible.Result = @($wide | ForEach-Object DisplayName | Sort-Object -Unique)
