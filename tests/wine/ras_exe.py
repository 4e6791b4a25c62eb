"""A Ras.exe for Windows machines of the tests: a real .exe that starts the stand-in, as a process of its own."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pip
from tests.wine.wine import PYTHON

#: ``Ras.exe -c PRJ PLAN`` as HEC-RAS 6.x takes it.
COMPUTES = """
import sys
from ras_standin.cli import main
assert sys.argv[1] == "-c", sys.argv
sys.argv[1] = "compute"
main()
"""
#: Waits for ever, as in a window, and so does what it has started.
WAITS = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
time.sleep(600)
"""


def write_ras_exe(folder: Path, main: str = COMPUTES) -> Path:
    """``folder``/Ras.exe: pip's launcher for Windows, whose child is python.exe with ``main``."""
    launcher = Path(pip.__file__).parent / "_vendor" / "distlib" / "t64.exe"
    program = io.BytesIO()
    with zipfile.ZipFile(program, "w") as archive:
        archive.writestr("__main__.py", main)
    folder.mkdir(parents=True, exist_ok=True)
    exe = folder / "Ras.exe"
    exe.write_bytes(launcher.read_bytes() + f"#!{PYTHON}\r\n".encode("ascii") + program.getvalue())
    return exe
