# The folders of attempts, and for how many seconds nothing was changed directly in each.
param($p)
$now = [DateTime]::UtcNow
@{
    attempts = @(Get-ChildItem -LiteralPath $p.work -Directory -Force -ErrorAction SilentlyContinue | Where-Object { -not $_.LinkType } | ForEach-Object {
        $times = @($_.LastWriteTimeUtc) + @(Get-ChildItem -LiteralPath $_.FullName -Force | ForEach-Object { $_.LastWriteTimeUtc })
        @{ name = $_.Name; idle = ($now - ($times | Measure-Object -Maximum).Maximum).TotalSeconds }
    })
}
