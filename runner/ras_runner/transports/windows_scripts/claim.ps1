# Takes an attempt's claim. Renaming a folder, unlike making one, fails when the name is taken.
param($p)
if (-not [IO.Directory]::Exists($p.folder)) { return @{ taken = $true } }
$claim = [IO.Path]::Combine($p.folder, 'claim')
$own = $claim + '.' + $p.token
$null = [IO.Directory]::CreateDirectory($own)
[IO.File]::WriteAllText([IO.Path]::Combine($own, $p.token), '')
try { [IO.Directory]::Move($own, $claim) } catch [IO.IOException] { [IO.Directory]::Delete($own, $true) }
@{ taken = [IO.File]::Exists([IO.Path]::Combine($claim, $p.token)) }
