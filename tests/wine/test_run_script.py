"""The run script of Windows workers (run.cmd.j2) and its quoting, on cmd.exe."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.wine.wine import PYTHON

from ras_runner.engines.base import Commands, System
from ras_runner.engines.cmdline import MAX_LINE, check_cmd, join_cmd
from ras_runner.engines.scripts import render_script

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.wine.wine import Windows

HOSTILE = [
    *("a b", "a&b", "100%", "%PATH%", "%%", "%1", "%~dp0", "^caret^", "^^&", "!x!", "(p)", "x=y,z;w", "<in >out |pipe"),
    *(
        "'apostrophe'",
        "`tick`",
        "trail\\",
        "two\\\\",
        "C:\\dir\\",
        "\\\\host\\share$",
        "@echo",
        "rem x",
        "~tilde#",
        "*?",
    ),
    *("", " ", " lead", "tail ", "/d", "-c", ":label", "&&", "||", ")"),
]
#: Writes what it got, as JSON, to the file named first.
ECHO = "import json, os, sys; open(sys.argv[1], 'w').write(json.dumps([os.getcwd(), dict(os.environ), sys.argv[2:]]))"
printable = st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters='"'), max_size=40)


def stage(folder: Path, commands: Commands, *, project: str = "p", priority: str = "low") -> None:
    """An attempt folder with its run script."""
    (folder / project).mkdir(parents=True)
    script = render_script(
        System.WINDOWS,
        commands,
        attempt_folder=PurePosixPath("unused"),
        folder=PurePosixPath(project),
        priority=priority,
    )
    (folder / "run.cmd").write_bytes(script)


def launch(windows: Windows, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the script as a transport does."""
    return windows.run(["cmd", "/d", "/c", r".\run.cmd"], cwd=folder, env=environment)


def python(code: str, *args: str) -> tuple[str, ...]:
    """A step that runs Python code."""
    return (PYTHON, "-c", code, *args)


def exit_code(folder: Path) -> object:
    """What the script wrote at its end."""
    assert not (folder / "exit.json.tmp").exists()
    return json.loads((folder / "exit.json").read_text(encoding="ascii"))


def received(windows: Windows, arguments: list[str]) -> list[str]:
    """What a program gets, when a batch file gives it these arguments."""
    line = join_cmd(python(ECHO, "got.json", *arguments))
    done = windows.cmd("setlocal DisableDelayedExpansion", line)
    assert done.returncode == 0, done.stderr
    got: list[str] = json.loads((windows.folder / "got.json").read_text(encoding="ascii"))[2]
    return got


def test_hostile_arguments_arrive_as_they_are(windows: Windows) -> None:
    assert received(windows, HOSTILE) == HOSTILE


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(arguments=st.lists(printable, min_size=5, max_size=20))
def test_any_printable_ascii_arrives_as_it_is(windows: Windows, arguments: list[str]) -> None:
    assert received(windows, arguments) == arguments


@pytest.mark.parametrize("text", ['say "x"', "a\nb", "a\rb", "nul\0", "tab\t", "\x1a", "\x7f", "Río", "測試"])
def test_what_cannot_be_said_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a batch file cannot say"):
        join_cmd(["Ras.exe", text])
    with pytest.raises(ValueError, match="a batch file cannot say"):
        check_cmd(text)


def test_the_longest_line_arrives_and_a_longer_one_is_refused(windows: Windows) -> None:
    longest = "x" * (MAX_LINE - len(join_cmd(python(ECHO, "got.json", ""))))
    assert received(windows, [longest]) == [longest]
    with pytest.raises(ValueError, match="is too long for cmd"):
        join_cmd(python(ECHO, "got.json", longest + "x"))


@pytest.mark.parametrize("priority", ["low", "below normal", "normal"])
def test_steps_run_in_the_project_folder_with_the_environment(windows: Windows, priority: str) -> None:
    environment = {"OMP_NUM_THREADS": "2", "HOSTILE": "a&b %PATH% ^!(x)|<>"}
    first = python("import sys; print('out 1'); print('err 1', file=sys.stderr); assert sys.stdin.read() == ''")
    second = python(ECHO, "got.json", *HOSTILE)
    stage(windows.folder, Commands((first, second), environment), project="p/my proj & %co%", priority=priority)
    assert launch(windows, windows.folder).returncode == 0
    project = windows.folder / "p" / "my proj & %co%"
    cwd, seen, arguments = json.loads((project / "got.json").read_text(encoding="ascii"))
    assert cwd == windows.path(project)
    assert arguments == HOSTILE
    assert {name: seen[name] for name in environment} == environment
    assert exit_code(windows.folder) == {"exit_code": 0}
    assert (windows.folder / "stdout.log").read_text(encoding="ascii").splitlines() == ["out 1"]
    assert (windows.folder / "stderr.log").read_text(encoding="ascii").splitlines() == ["err 1"]
    assert sorted(p.name for p in windows.folder.iterdir()) == [
        "claim",
        "exit.json",
        "p",
        "run.cmd",
        "stderr.log",
        "stdout.log",
    ]


@pytest.mark.parametrize("code", [1, 3, 9, 300, -1, -1073741819])
def test_the_first_step_that_fails_ends_the_run(windows: Windows, code: int) -> None:
    steps = (python("print('one')"), python(f"import os; os._exit({code})"), python("print('never')"))
    stage(windows.folder, Commands(steps))
    launch(windows, windows.folder, ERRORLEVEL="0")
    assert exit_code(windows.folder) == {"exit_code": code}
    assert (windows.folder / "stdout.log").read_text(encoding="ascii").split() == ["one"]


def test_a_program_that_is_not_there_fails_and_is_named(windows: Windows) -> None:
    stage(windows.folder, Commands(((r"C:\no such\Ras.exe", "-c"), python("print('never')"))))
    launch(windows, windows.folder)
    ended = exit_code(windows.folder)
    assert isinstance(ended, dict)
    assert ended["exit_code"] != 0
    assert r"C:\no such\Ras.exe" in (windows.folder / "stderr.log").read_text(encoding="ascii")
    assert (windows.folder / "stdout.log").read_text(encoding="ascii") == ""


def test_a_missing_project_folder_fails(windows: Windows) -> None:
    stage(windows.folder, Commands((python("print('never')"),)))
    (windows.folder / "p").rmdir()
    launch(windows, windows.folder)
    assert exit_code(windows.folder) == {"exit_code": 1}
    assert not (windows.folder / "stdout.log").exists()


def test_a_second_launch_runs_nothing(windows: Windows) -> None:
    stage(windows.folder, Commands((python("open('ran', 'a').write('x')"),)))
    assert launch(windows, windows.folder).returncode == 0
    before = (windows.folder / "exit.json").stat().st_mtime_ns
    assert launch(windows, windows.folder).returncode == 0
    assert (windows.folder / "p" / "ran").read_text(encoding="ascii") == "x"
    assert (windows.folder / "exit.json").stat().st_mtime_ns == before


def test_of_many_launches_at_once_one_runs(windows: Windows) -> None:
    stage(windows.folder, Commands((python("open('ran', 'a').write('x')"),)))
    running = [windows.popen(["cmd", "/d", "/c", r".\run.cmd"]) for _ in range(8)]
    for process in running:
        process.communicate(timeout=60)
    assert (windows.folder / "p" / "ran").read_text(encoding="ascii") == "x"
    assert exit_code(windows.folder) == {"exit_code": 0}


@pytest.mark.parametrize("name", ["att x", "a&b ^(1)!", "Río 測試"])
def test_the_folder_of_an_attempt_may_have_a_hostile_name(windows: Windows, name: str) -> None:
    folder = windows.folder / name
    stage(folder, Commands((python("open('ran', 'w').close()"),)))
    assert launch(windows, folder).returncode == 0
    assert exit_code(folder) == {"exit_code": 0}
    assert (folder / "p" / "ran").exists()


def test_it_can_be_started_from_elsewhere(windows: Windows) -> None:
    folder = windows.folder / "att x"
    stage(folder, Commands((python("open('ran', 'w').close()"),)))
    assert windows.run(["cmd", "/d", "/c", folder / "run.cmd"]).returncode == 0
    assert exit_code(folder) == {"exit_code": 0}
    assert (folder / "p" / "ran").exists()


LAUNCH = """
import os, subprocess
flags = subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP
print(subprocess.Popen(["cmd", "/d", "/c", "run.cmd"], creationflags=flags, stdin=subprocess.DEVNULL,
                       stdout=open("launch.log", "ab"), stderr=subprocess.STDOUT).pid, flush=True)
os._exit(0)
"""
WAIT = "import pathlib, time\nopen('started', 'w').close()\nwhile not pathlib.Path('go').exists(): time.sleep(0.02)"
NESTED = "import subprocess, sys\nsubprocess.run([sys.executable, 'wait.py'])"
UNTIL = "import pathlib, sys, time\nwhile not pathlib.Path(sys.argv[1]).exists(): time.sleep(0.02)"


def test_a_detached_run_outlives_its_launcher(windows: Windows) -> None:
    stage(windows.folder, Commands(((PYTHON, "wait.py"),)))
    (windows.folder / "p" / "wait.py").write_text(WAIT, encoding="ascii")
    assert windows.python("-c", LAUNCH).returncode == 0
    assert windows.python("-c", UNTIL, windows.folder / "p" / "started").returncode == 0
    assert not (windows.folder / "exit.json").exists()
    (windows.folder / "p" / "go").touch()
    assert windows.python("-c", UNTIL, windows.folder / "exit.json").returncode == 0
    assert exit_code(windows.folder) == {"exit_code": 0}


def test_ending_the_tree_of_a_run_leaves_no_exit_code(windows: Windows) -> None:
    stage(windows.folder, Commands(((PYTHON, "nested.py"),)))
    for name, code in (("wait.py", WAIT), ("nested.py", NESTED)):
        (windows.folder / "p" / name).write_text(code, encoding="ascii")
    pid = windows.python("-c", LAUNCH).stdout.strip()
    assert windows.python("-c", UNTIL, windows.folder / "p" / "started").returncode == 0
    assert windows.run(["taskkill", "/T", "/F", "/PID", pid]).returncode == 0
    assert windows.running() == []
    assert not (windows.folder / "exit.json").exists()
