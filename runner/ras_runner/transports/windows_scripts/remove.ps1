# Removes a file or a tree.
param($p)
if ([IO.Directory]::Exists($p.path) -or [IO.File]::Exists($p.path)) { Remove-Item -LiteralPath $p.path -Recurse -Force }
@{ }
