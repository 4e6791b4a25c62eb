$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
try {
    $call = ConvertFrom-Json ([Text.Encoding]::UTF8.GetString([Convert]::FromBase64String(-join @($input))))
    $answer = @{ ok = $true; value = (& ([ScriptBlock]::Create($call.script)) $call.parameters) }
} catch {
    $cause = $_.Exception
    while ($cause.InnerException) { $cause = $cause.InnerException }
    $answer = @{ ok = $false; type = $cause.GetType().Name; message = $cause.Message; code = $cause.HResult }
}
$json = [Text.Encoding]::UTF8.GetBytes((ConvertTo-Json $answer -Depth 8 -Compress))
[Console]::Out.WriteLine('ras-runner ' + [Convert]::ToBase64String($json))
