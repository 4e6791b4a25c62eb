#Requires -Version 5.1
#Requires -RunAsAdministrator
<#
.SYNOPSIS
Lets Ansible reach a fresh Windows machine, over WinRM with HTTPS or over OpenSSH. Run it once on the machine.
.DESCRIPTION
WinRM: starts the service with Windows, makes a certificate (its public part is written to NAME.pem in the current folder:
take it to the controller), gives WinRM an HTTPS listener with it, and opens port 5986 to the controllers only.
OpenSSH: installs Windows' own server, lets administrators in with the given public key and without passwords, and
opens port 22 to the controllers only. It changes nothing else. -Remove takes away what it added.
.EXAMPLE
.\bootstrap-windows.ps1 -Controllers 192.0.2.10
.EXAMPLE
.\bootstrap-windows.ps1 -Controllers 192.0.2.10 -PublicKey 'ssh-ed25519 AAAA... me@controller'
.PARAMETER Controllers
Addresses or networks of the machines that run ras-runner.
.PARAMETER PublicKey
Public SSH key of the controller. With it OpenSSH is set up, without it WinRM.
.PARAMETER LocalAdministrators
WinRM: let local administrators other than the built-in one be administrators over the network
(LocalAccountTokenFilterPolicy = 1; see the README of the role windows_remote_uac for what that means).
.PARAMETER Remove
Take away what this script has added.
#>
[CmdletBinding()]
param(
    [string[]] $Controllers = @(),
    [string] $PublicKey = '',
    [switch] $LocalAdministrators,
    [switch] $Remove
)

$ErrorActionPreference = 'Stop'
$name = 'ras-runner bootstrap'
$policy = 'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\System'
$keys = Join-Path $env:ProgramData 'ssh\administrators_authorized_keys'

function Get-OwnCertificate { Get-ChildItem Cert:\LocalMachine\My | Where-Object FriendlyName -EQ $name }
function Get-HttpsListener { Get-ChildItem WSMan:\localhost\Listener | Where-Object { $_.Keys -contains 'Transport=HTTPS' } }
function Add-ControllerRule([int] $Port) {
    Get-NetFirewallRule -DisplayName "$name $Port" -ErrorAction SilentlyContinue | Remove-NetFirewallRule
    $null = New-NetFirewallRule -DisplayName "$name $Port" -Group 'ras-runner' -Direction Inbound -Action Allow `
        -Protocol TCP -LocalPort $Port -RemoteAddress $Controllers
}

if ($Remove) {
    $thumbprints = @(Get-OwnCertificate | ForEach-Object Thumbprint)
    if ((Get-Service WinRM).Status -eq 'Running') {
        Get-HttpsListener | Where-Object {
            $thumbprints -contains ((Get-ChildItem $_.PSPath | Where-Object Name -EQ 'CertificateThumbprint').Value -replace '\s')
        } | Remove-Item -Recurse -Force
    }
    Get-OwnCertificate | Remove-Item
    Get-NetFirewallRule -DisplayName "$name *" -ErrorAction SilentlyContinue | Remove-NetFirewallRule
    Write-Output 'Removed the listener, its certificate and the firewall rules of this script. Services and OpenSSH stay.'
    return
}

if (-not $Controllers) { throw 'Give the addresses of the machines that run ras-runner: -Controllers 192.0.2.10' }
if ($Controllers | Where-Object { $_ -match '^(any|\*|internet)$' -or $_ -match '/0$' }) {
    throw 'Name the controllers; this script does not open the machine to everybody.'
}
if ($PublicKey) {
    if ($PublicKey -notmatch '^(ssh-|ecdsa-sha2-|sk-)\S+ [A-Za-z0-9+/=]+') { throw '-PublicKey is not the content of a .pub file.' }
    $capability = Get-WindowsCapability -Online -Name 'OpenSSH.Server*' | Select-Object -First 1
    if ($capability.State -ne 'Installed') { $null = Add-WindowsCapability -Online -Name $capability.Name }
    Set-Service sshd -StartupType Automatic
    Start-Service sshd
    $config = Join-Path $env:ProgramData 'ssh\sshd_config'
    $text = Get-Content $config -Raw
    if ($text -notmatch '(?m)^PasswordAuthentication no') { Set-Content $config ("PasswordAuthentication no`r`n" + $text) -NoNewline }
    if (-not ((Test-Path $keys) -and (Select-String -Path $keys -SimpleMatch $PublicKey -Quiet))) { Add-Content $keys $PublicKey }
    $null = icacls.exe $keys /inheritance:r /grant '*S-1-5-32-544:F' '*S-1-5-18:F'
    if ($LASTEXITCODE -ne 0) { throw "icacls could not protect $keys" }
    Restart-Service sshd
    # Windows' own rule lets everybody in on private networks.
    Get-NetFirewallRule -Name 'OpenSSH-Server-In-TCP' -ErrorAction SilentlyContinue | Disable-NetFirewallRule
    Add-ControllerRule 22
    Write-Output 'OpenSSH is ready. In the inventory: ansible_connection: ssh, ansible_shell_type: cmd'
    return
}
Set-Service WinRM -StartupType Automatic
Start-Service WinRM
if (-not (Get-HttpsListener)) {
    $certificate = New-SelfSignedCertificate -DnsName $env:COMPUTERNAME, ([Net.Dns]::GetHostEntry('').HostName) `
        -CertStoreLocation Cert:\LocalMachine\My -FriendlyName $name -NotAfter (Get-Date).AddYears(5)
    $null = New-Item WSMan:\localhost\Listener -Transport HTTPS -Address * -CertificateThumbPrint $certificate.Thumbprint -Force
    $pem = [Convert]::ToBase64String($certificate.RawData, 'InsertLineBreaks')
    Set-Content ".\$env:COMPUTERNAME.pem" "-----BEGIN CERTIFICATE-----`n$pem`n-----END CERTIFICATE-----"
}
if ($LocalAdministrators) { $null = New-ItemProperty $policy -Name LocalAccountTokenFilterPolicy -Value 1 -PropertyType DWord -Force }
Add-ControllerRule 5986
Write-Output 'WinRM is ready. In the inventory: ansible_connection: winrm, ansible_port: 5986, ansible_winrm_ca_trust_path: the .pem'
