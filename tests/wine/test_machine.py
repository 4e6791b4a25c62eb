"""The Windows machine itself: what the other tests of this folder rely on."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from tests.wine.wine import PYTHON, REPO

if TYPE_CHECKING:
    from tests.wine.wine import Windows


def test_python_is_windows_python_with_our_package(windows: Windows) -> None:
    code = "import sys, os, h5py, numpy, ras_runner; print(sys.platform, os.getcwd()); print(ras_runner.__file__)"
    done = windows.python("-c", code)
    assert done.stdout.splitlines() == [
        f"win32 {windows.path(windows.folder)}",
        r"Z:\srv\ras\ras_runner\__init__.py",
    ], done.stderr
    assert done.returncode == 0


def test_files_are_seen_on_both_sides_and_arguments_arrive(windows: Windows) -> None:
    name = "Flüß 測 & co.txt"
    (windows.folder / name).write_text("von hier", encoding="utf-8")
    read = "import os, sys; text = open(sys.argv[1], encoding='utf-8').read()"
    code = f"{read}; open('back', 'w').write(text + os.environ['WORD'])"
    assert windows.python("-c", code, windows.folder / name, env={"WORD": " ü"}).returncode == 0
    assert (windows.folder / "back").read_text(encoding="cp1252") == "von hier ü"


def test_cmd_runs_lines_and_gives_the_exit_code(windows: Windows) -> None:
    done = windows.cmd("mkdir a && echo made", "mkdir a 2>nul || exit /b 7")
    assert (done.returncode, done.stdout) == (7, "made\n")
    assert [p.name for p in windows.folder.iterdir()] == ["a"]


def test_the_checkout_is_read_only_there(windows: Windows) -> None:
    done = windows.cmd(
        f">{windows.path(REPO)}\\written.txt echo no", f"if exist {windows.path(REPO)}\\pyproject.toml echo seen"
    )
    assert done.stdout.splitlines()[-1] == "seen"
    assert not (REPO / "written.txt").exists()


def test_timeout_ends_the_program_and_what_it_started(windows: Windows) -> None:
    loop = "import time\nopen('started{0}', 'w').close()\nwhile True: time.sleep(0.05); open('beat{0}', 'a').write('x')"
    (windows.folder / "child.py").write_text(loop.format("-child"), encoding="ascii")
    start = "import subprocess, sys\nsubprocess.Popen([sys.executable, 'child.py'], creationflags=8)"
    code = f"{start}\n{loop.format('-parent')}"
    with pytest.raises(subprocess.TimeoutExpired):
        windows.python("-c", code, timeout=8)
    assert (windows.folder / "started-child").exists()
    assert windows.running() == []


def test_kill_ends_only_the_program(windows: Windows) -> None:
    sleep = "import time; time.sleep(60)"
    code = f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {sleep!r}], creationflags=8)"
    process = windows.popen([PYTHON, "-u", "-c", f"{code}; print('up'); {sleep}"])
    assert process.stdout is not None
    assert process.stdout.readline().strip() == b"up"
    assert windows.running() == ["python.exe"] * 2
    process.kill()
    process.wait(20)
    assert windows.running() == ["python.exe"]
    windows.end_all()
    assert windows.running() == []
