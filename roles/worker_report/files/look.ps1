# What a Windows machine offers: cores, memory, disk, desktop sessions, HEC-RAS. Changes nothing.
$Ansible.Changed = $false
$computer = Get-CimInstance -ClassName Win32_ComputerSystem
$windows = Get-CimInstance -ClassName Win32_OperatingSystem
$disk = Get-CimInstance -ClassName Win32_LogicalDisk -Filter "DeviceID='C:'"

# A desktop has an explorer.exe; whose it is and in which session, without a word of any language.
$sessions = @(
    Get-CimInstance -ClassName Win32_Process -Filter "Name='explorer.exe'" | ForEach-Object {
        @{
            id   = [int]$_.SessionId
            user = [string](Invoke-CimMethod -InputObject $_ -MethodName GetOwner).User
        }
    } | Where-Object { $_.id -ne 0 }
)

$hecras = @{}
foreach ($root in ${env:ProgramFiles(x86)}, $env:ProgramFiles) {
    $folder = Join-Path -Path $root -ChildPath 'HEC\HEC-RAS'
    if (Test-Path -LiteralPath $folder) {
        foreach ($version in Get-ChildItem -LiteralPath $folder -Directory) {
            if (Test-Path -LiteralPath (Join-Path -Path $version.FullName -ChildPath 'Ras.exe')) {
                $hecras[$version.Name] = $version.FullName
            }
        }
    }
}

$Ansible.Result = @{
    system       = "$($windows.Caption) $($windows.Version)"
    cores        = [int]$computer.NumberOfLogicalProcessors
    memory_bytes = [long]$computer.TotalPhysicalMemory
    disk_bytes   = [long]$disk.Size
    hecras       = $hecras
    sessions     = $sessions
}
