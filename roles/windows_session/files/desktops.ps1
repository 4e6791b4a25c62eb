# Who has a desktop here, and in which session. Changes nothing.
[CmdletBinding(SupportsShouldProcess)]
param()

$Ansible.Changed = $false
$Ansible.Result = @(
    Get-Process -Name explorer -IncludeUserName -ErrorAction SilentlyContinue |
        ForEach-Object { @{ user = $_.UserName; session = $_.SessionId } }
)
