# Makes the worker folder and tries to write there; tells what the host is and has.
param($p)
foreach ($name in 'store', 'w') { $null = [IO.Directory]::CreateDirectory([IO.Path]::Combine($p.folder, $name)) }
$probe = [IO.Path]::Combine($p.folder, 'w', $p.probe)
[IO.File]::WriteAllText($probe, 'ras-runner')
[IO.File]::Delete($probe)
$engines = @($p.patterns | ForEach-Object { Get-Item -Path $_ -ErrorAction SilentlyContinue } | ForEach-Object { $_.FullName })
$engines += @($p.programs | ForEach-Object {
    Get-Command -Name $_ -CommandType Application -ErrorAction SilentlyContinue | Select-Object -First 1
} | ForEach-Object { $_.Source })
@{
    system = (Get-CimInstance Win32_OperatingSystem).Caption
    folder = [IO.Path]::GetFullPath($p.folder)
    user = [Security.Principal.WindowsIdentity]::GetCurrent().Name
    engines = @($engines)
    sessions = (& "$env:SystemRoot\System32\cmd.exe" /d /c 'query session 2>&1' | Out-String)
}
