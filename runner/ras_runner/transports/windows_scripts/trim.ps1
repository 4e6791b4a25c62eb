# Store files go, those that were used longest ago first; never what a workspace has a link to or was used lately.
param($p)
$now = [DateTime]::UtcNow
$freed = [int64]0
$held = [int64]0
foreach ($part in Get-ChildItem -LiteralPath $p.store, $p.work -Filter '*.part' -File -Recurse -Force) {
    if (($now - $part.LastWriteTimeUtc).TotalSeconds -gt $p.parts) { $freed += $part.Length; Remove-Item -LiteralPath $part.FullName -Force }
}
$files = @(Get-ChildItem -LiteralPath $p.store -File -Recurse -Force | Where-Object { $_.Name -match '^[0-9a-f]{64}$' })
foreach ($file in $files) { $held += $file.Length }
foreach ($file in $files | Sort-Object LastAccessTimeUtc) {
    if ($held -le $p.limit -or ($now - $file.LastAccessTimeUtc).TotalSeconds -lt $p.lately) { break }
    if ($file.LinkType -eq 'HardLink') { continue }
    Remove-Item -LiteralPath $file.FullName -Force
    $held -= $file.Length
    $freed += $file.Length
}
@{ freed = $freed }
