# Removes tasks that are ours by their description as well as by their name.
param($p)
$removed = @(foreach ($name in $p.tasks) {
    $task = Get-ScheduledTask -TaskName $name -TaskPath '\' -ErrorAction SilentlyContinue
    if ($task -and $task.Description -eq $p.description) {
        Unregister-ScheduledTask -TaskName $name -TaskPath '\' -Confirm:$false
        $name
    }
})
@{ removed = @($removed) }
