"""What is measured on: a project of 99 plans, an engine that takes no time, the peer in a venv of its own."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from measure import MeasureError

ROOT = Path(__file__).resolve().parents[2]
MUNCIE = ROOT.parent / "shared" / "data" / "muncie"
PEER = "ras-commander"
PEER_VERSION = "0.110.1"
#: Its local worker imports shapely and psutil, which a plain install of it leaves out.
PEER_PACKAGES = (f"{PEER}=={PEER_VERSION}", "shapely", "psutil")
PLANS = tuple(f"{number:02d}" for number in range(1, 100))
_FILE = re.compile(r"(Geom|Flow|Unsteady|Plan) File=")
_MESSAGES = "Finished Unsteady Flow Simulation\r\nComputations Summary\r\nComplete Process\t5\r\n"


@dataclass(frozen=True, slots=True)
class Engine:
    """The engine that takes no time, in a folder named like a HEC-RAS version."""

    folder: Path

    @property
    def ras_exe(self) -> Path:
        """The program."""
        return self.folder / "Ras.exe"

    def results(self, size: int) -> int:
        """Prepare the results that every run copies, about ``size`` bytes; the exact size."""
        path = self.folder / "results.hdf"
        write_results(path, size)
        return path.stat().st_size

    def workspaces(self) -> list[int]:
        """Bytes that each run since the last call found in a workspace of its own (without hard-linked files)."""
        log = self.folder / "staged.log"
        text = log.read_text(encoding="ascii") if log.exists() else ""
        log.unlink(missing_ok=True)
        return [int(line) for line in text.split()]


def write_results(path: Path, size: int) -> None:
    """A results HDF that both programs take for finished, filled with ``size`` bytes that do not compress."""
    with h5py.File(path, "w") as file:
        file.attrs["File Type"] = np.bytes_("HEC-RAS Results")
        file.attrs["File Version"] = np.bytes_("HEC-RAS 6.6 September 2024")
        file.create_group("Plan Data/Plan Information").attrs["Plan Title"] = np.bytes_("bench")
        summary = file.create_group("Results/Unsteady/Summary")
        summary.attrs["Solution"] = np.bytes_("Unsteady Finished Successfully")
        summary.attrs["Time Stamp Solution Went Unstable"] = np.bytes_("Not Applicable")
        file["Results/Summary/Compute Messages (text)"] = np.array([_MESSAGES.encode("ascii")])
        if size:
            file["Filling"] = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)


def build_engine(folder: Path) -> Engine:
    """Compile the engine into ``folder/6.6``.

    Raises:
        MeasureError: no C compiler, or it failed.
    """
    engine = Engine(folder / "6.6")
    engine.folder.mkdir(parents=True)
    compile_engine(engine.ras_exe, engine.folder / "results.hdf", engine.folder / "staged.log")
    return engine


def compile_engine(program: Path, results: Path, log: Path) -> None:
    """Compile the engine into a program that needs no library.

    Args:
        program: where to.
        results: the file that it copies, and
        log: the file that it writes what it sees to, by their paths where it runs.

    Raises:
        MeasureError: no C compiler, or it failed.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        raise MeasureError("the engine that takes no time needs a C compiler (cc): install gcc or clang")
    paths = [f'-D{name}="{path}"' for name, path in (("RESULTS", results), ("LOG", log))]
    source = Path(__file__).with_name("engine.c")
    done = subprocess.run(
        [compiler, "-O2", "-Wall", "-static", *paths, "-o", str(program), str(source)],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise MeasureError(f"cc failed: {done.stderr.strip()}")


def make_project(folder: Path) -> Path:
    """Muncie with 99 plans, p01 to p99, each a copy of p04; returns the .prj.

    The example comes without some of the files that its .prj lists. They are taken off the list, and the plan's text
    geometry is put there (its title only: this engine does not read it), as a plan without it is never current for the
    peer.

    Raises:
        MeasureError: the data is not there.
    """
    if not MUNCIE.is_dir():
        raise MeasureError(f"the project that is measured on is not there: {MUNCIE}")
    folder.mkdir(parents=True)
    for path in MUNCIE.iterdir():
        shutil.copyfile(path, folder / path.name)
    for number in PLANS:
        if number != "04":
            shutil.copyfile(folder / "Muncie.p04", folder / f"Muncie.p{number}")
    (folder / "Muncie.g04").write_text("Geom Title=Muncie\nProgram Version=6.10\n", encoding="latin-1", newline="\r\n")
    prj = folder / "Muncie.prj"
    lines = prj.read_text(encoding="latin-1").splitlines()
    kept = [line for line in lines if not _FILE.match(line)]
    listed = ["Geom File=g04", "Unsteady File=u01", *(f"Plan File=p{number}" for number in PLANS)]
    place = kept.index("English Units") + 1
    prj.write_text("\n".join([*kept[:place], *listed, *kept[place:]]) + "\n", encoding="latin-1", newline="\r\n")
    return prj


def install_peer(venv: Path) -> Path:
    """Install the peer into a venv, unless it is there; returns its Python.

    Raises:
        MeasureError: it cannot be installed.
    """
    python = venv / "bin" / "python"
    asked = (
        f"import importlib.metadata as m, psutil, shapely; raise SystemExit(m.version('{PEER}') != '{PEER_VERSION}')"
    )
    if python.exists() and subprocess.run([python, "-c", asked], check=False, capture_output=True).returncode == 0:
        return python
    steps = (
        [sys.executable, "-m", "venv", "--clear", str(venv)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PEER_PACKAGES],
    )
    for step in steps:
        done = subprocess.run(step, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise MeasureError(f"{PEER} {PEER_VERSION} could not be installed: {last}")
    return python
