@echo off
rem Run script of one ras-runner attempt. It needs nothing but cmd.exe.
rem   run.cmd [MARK]     MARK only stands on the command line, where a list of processes shows whose they are
setlocal EnableExtensions DisableDelayedExpansion
rem A variable of this name would hide the exit code of the last program.
set "ERRORLEVEL="
if "%~1"=="steps" goto steps
cd /d "%~dp0" || exit /b 1
rem Claim the workspace first: of two launches of one attempt only one gets past this line.
mkdir claim 2>nul || exit /b 0
rem The steps run in a cmd.exe of their own: one place for the priority, and this one stays in its folder.
start "" /low /b /wait "%ComSpec%" /d /c .\run.cmd steps %1
set "RC=%ERRORLEVEL%"
rem The redirection stands first: "echo 1> file" would write nothing and redirect handle 1.
>exit.json.tmp echo {"exit_code": %RC%}
move /y exit.json.tmp exit.json >nul
exit /b %RC%

:steps
set "KMP_AFFINITY=disabled"
set "ATTEMPT=%CD%"
2>>stderr.log cd /d "p" || exit 1
<nul >>"%ATTEMPT%\stdout.log" 2>>"%ATTEMPT%\stderr.log" "C:\Program Files (x86)\HEC\HEC-RAS\6.6\Ras.exe" "-c" "50%% (a&b) ^ !.prj" "p01"
if not %ERRORLEVEL%==0 exit %ERRORLEVEL%
exit 0
