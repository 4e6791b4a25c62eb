"""The file that starts a Dask worker on a Windows machine, where it ends before the worker begins.

That it starts one is seen in tests/wine/test_dask_on_windows.py.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.ansible.windows_fleet import DASK_ROLE, ROLES

from ras_runner.transports import dask_object_task, dask_task


@pytest.mark.skipif(os.name == "nt", reason="net.exe is a script here")
def test_a_drive_that_cannot_be_connected_is_said_in_the_log(tmp_path: Path) -> None:
    start = Path(shutil.copy(ROLES / DASK_ROLE / "files" / "start.py", tmp_path))
    log = tmp_path / "work" / "worker.log"
    log.parent.mkdir()
    log.write_bytes(b"x" * 5_000_001)  # too long: a new one is begun
    settings = {"arguments": ["tcp://127.0.0.1:1"], "cores": 1, "drives": {"R": r"\\files\ras plans"}}
    tmp_path.joinpath("worker.json").write_text(json.dumps(settings), encoding="utf-8")
    net = tmp_path / "bin" / "net"
    net.parent.mkdir()
    net.write_text(
        f'#!/bin/sh\nprintf "%s|" "$@" >{tmp_path}/asked\necho "System error 53" >&2\nexit 2\n', encoding="utf-8"
    )
    net.chmod(0o755)
    done = subprocess.run([sys.executable, start], env={"PATH": str(net.parent)}, check=False)
    assert done.returncode == 1
    assert (
        log.read_text(encoding="utf-8").strip() == r"drive R: cannot be connected to \\files\ras plans: System error 53"
    )
    assert log.with_suffix(".old").stat().st_size == 5_000_001
    assert tmp_path.joinpath("asked").read_text(encoding="utf-8") == r"use|R:|\\files\ras plans|/persistent:no|"


@pytest.mark.parametrize("module", [dask_task.__name__, dask_object_task.__name__])
def test_the_guards_of_shared_folders_and_of_storage_count_as_plans(module: str) -> None:
    script = (ROLES / DASK_ROLE / "files" / "look.ps1").read_text(encoding="utf-8")
    (pattern,) = re.findall(r"CommandLine -like '(.*)'", script)
    assert fnmatch.fnmatchcase(rf"C:\v\Scripts\pythonw.exe -m {module} 0123456789 C:\w\0123456789 run.cmd", pattern)
    assert not fnmatch.fnmatchcase(r"C:\v\Scripts\pythonw.exe -m ras_runner.transports.other", pattern)
