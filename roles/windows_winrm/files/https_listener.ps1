# Gives WinRM an HTTPS listener, or puts back the one that was found.
# Result: before and thumbprint (of the listener's certificate, then and now; empty for none), certificate (DER, base64).
[CmdletBinding(SupportsShouldProcess)]
param(
    [Parameter(Mandatory)] [ValidateSet('present', 'absent')] [string] $State,
    [Parameter(Mandatory)] [string] $FriendlyName,
    [string] $Thumbprint = '',
    [string[]] $DnsName = @(),
    [int] $Days = 1825
)

$ErrorActionPreference = 'Stop'
$Ansible.Changed = $false

function Get-HttpsListener {
    Get-ChildItem -Path WSMan:\localhost\Listener | Where-Object { $_.Keys -contains 'Transport=HTTPS' }
}

function Get-ListenerThumbprint {
    $listener = Get-HttpsListener | Select-Object -First 1
    if (-not $listener) { return '' }
    (Get-ChildItem -Path $listener.PSPath | Where-Object Name -EQ 'CertificateThumbprint').Value -replace '\s'
}

function Get-OwnCertificate {
    Get-ChildItem -Path Cert:\LocalMachine\My |
        Where-Object { $_.FriendlyName -eq $FriendlyName -and $_.NotAfter -gt (Get-Date).AddDays(30) } |
        Where-Object { -not (Compare-Object $DnsName @($_.DnsNameList.Unicode)) } |
        Select-Object -First 1
}

$before = Get-ListenerThumbprint
$wanted = $Thumbprint
if ($State -eq 'present' -and -not $wanted -and $before) {
    # The controller may know the machine by the certificate that the listener has: keep it while it is valid.
    $current = Get-Item -Path "Cert:\LocalMachine\My\$before" -ErrorAction SilentlyContinue
    if ($current -and $current.NotAfter -gt (Get-Date)) { $wanted = $before }
}
if ($State -eq 'present' -and -not $wanted) {
    $certificate = Get-OwnCertificate
    if (-not $certificate) {
        $Ansible.Changed = $true
        if ($PSCmdlet.ShouldProcess($FriendlyName, 'make a certificate')) {
            $certificate = New-SelfSignedCertificate -DnsName $DnsName -CertStoreLocation Cert:\LocalMachine\My `
                -FriendlyName $FriendlyName -NotAfter (Get-Date).AddDays($Days)
        }
    }
    $wanted = if ($certificate) { $certificate.Thumbprint } else { 'new' }
}
if ($wanted -and $wanted -ne 'new') {
    $found = Get-Item -Path "Cert:\LocalMachine\My\$wanted" -ErrorAction SilentlyContinue
    if (-not $found -or -not $found.HasPrivateKey) {
        throw "There is no certificate $wanted with a private key in LocalMachine\My. Import it with its key, or name none."
    }
}
if ($before -ne $wanted) {
    $Ansible.Changed = $true
    if ($PSCmdlet.ShouldProcess('HTTPS listener', 'set')) {
        Get-HttpsListener | Remove-Item -Recurse -Force
        if ($wanted) {
            $null = New-Item -Path WSMan:\localhost\Listener -Transport HTTPS -Address * -CertificateThumbPrint $wanted -Force
        }
    }
}
if ($State -eq 'absent') {
    $own = Get-ChildItem -Path Cert:\LocalMachine\My | Where-Object FriendlyName -EQ $FriendlyName
    foreach ($certificate in $own) {
        $Ansible.Changed = $true
        if ($PSCmdlet.ShouldProcess($certificate.Thumbprint, 'remove')) { $certificate | Remove-Item }
    }
}
$now = Get-ListenerThumbprint
$raw = if ($now) { (Get-Item -Path "Cert:\LocalMachine\My\$now").RawData }
$Ansible.Result = @{
    before = $before
    thumbprint = $now
    certificate = if ($raw) { [Convert]::ToBase64String($raw) } else { '' }
}
