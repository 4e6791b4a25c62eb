"""Windows CPython under wine, for tests: start programs there and see their files here.

One session has one Windows machine. It is a Debian chroot (built by tests/install-services.sh) with an overlay in
memory, in namespaces of its own: tests leave nothing behind in it, and nothing of it survives the session. Folders of
this machine that were given to it keep their path: ``/tmp/x`` is ``Z:\\tmp\\x``.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

REPO = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
PYTHON = r"Z:\srv\python\python.exe"
#: All that a program on the Windows machine gets from this one; wine adds what Windows has.
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "HOME": "/srv",
    "WINEPREFIX": "/srv/prefix",
    "WINEDEBUG": "-all",
    "LC_ALL": "C.UTF-8",
    "XDG_RUNTIME_DIR": "/tmp",
    "PYTHON_CPU_COUNT": "2",  # os.cpu_count() is None under wine
    # The checkout is read-only there. (Windows Python's tempfile tries for ever in a folder that refuses it.)
    "PYTHONPYCACHEPREFIX": r"Z:\tmp\pycache",
    "HYPOTHESIS_STORAGE_DIRECTORY": r"Z:\tmp\hypothesis",
}
#: Marks the processes that one test started.
MARK = "RAS_WINE_TEST"
_START_SECONDS = 60


class WineUnavailable(Exception):  # noqa: N818  not an error: the reason for a skip
    """Windows programs cannot run on this machine; the message says why and what to do."""


class WindowsProcess(subprocess.Popen[bytes]):
    """A program on the Windows machine, as ``subprocess.Popen`` shows it; ``pid`` is of no use there."""

    def kill(self) -> None:
        """End the program at once, as TerminateProcess does: what it started runs on."""
        for child in _children(self.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)

    terminate = kill


@dataclass(frozen=True)
class WindowsMachine:
    """A running Windows machine.

    Attributes:
        holder: ``unshare``, whose only child is process 1 of the machine's namespaces.
        init: process id of that child, seen from here.
        shared: folders of this machine that the Windows machine sees.
    """

    holder: subprocess.Popen[bytes]
    init: int
    shared: tuple[Path, ...]

    def stop(self) -> None:
        """End every process of the machine, and the machine."""
        assert self.holder.stdin is not None
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.init, signal.SIGKILL)
        self.holder.stdin.close()
        self.holder.wait(30)


@dataclass(frozen=True)
class Windows:
    """The Windows machine as one test sees it.

    Attributes:
        machine: the session's machine.
        folder: the test's own empty folder (a path of this machine); programs start in it.
        mark: in the environment of everything the test starts.
    """

    machine: WindowsMachine
    folder: Path
    mark: str

    def path(self, path: Path | str) -> str:
        """What a path of this machine is called on the Windows machine.

        Raises:
            ValueError: the Windows machine does not see it.
        """
        full = Path(path).absolute()
        if not any(full.is_relative_to(folder) for folder in self.machine.shared):
            raise ValueError(
                f"{full} is not in a folder that the Windows machine sees: {', '.join(map(str, self.machine.shared))}"
            )
        return "Z:" + str(full).replace("/", "\\")

    def popen(
        self,
        argv: Sequence[str | Path],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: int | IO[bytes] = subprocess.DEVNULL,
        stdout: int | IO[bytes] = subprocess.PIPE,
        stderr: int | IO[bytes] = subprocess.PIPE,
    ) -> WindowsProcess:
        """Start a program and do not wait for it.

        A pipe stays open as long as anything that the program started runs, detached or not: wine hands it on.

        Args:
            argv: a Windows program and its arguments; a ``Path`` is turned into its Windows path.
            cwd: folder of this machine to start in; the test's folder when left out.
            env: variables besides those every Windows program has.
            stdin, stdout, stderr: as for ``subprocess.Popen``.
        """
        variables = {**ENVIRONMENT, MARK: self.mark, **(env or {})}
        words = [self.path(word) if isinstance(word, Path) else word for word in argv]
        enter = ["nsenter", f"--target={self.machine.init}", "--mount", "--pid", "--root", "--"]
        inside = [
            "env",
            "-i",
            "-C",
            str(cwd or self.folder),
            *(f"{k}={v}" for k, v in variables.items()),
            "wine",
            *words,
        ]
        return WindowsProcess([*enter, *inside], stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True)

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end. Output is text with plain line ends; the exit code is cut to 8 bits on the way.

        Args:
            argv, cwd, env: as for ``popen``.
            timeout: seconds.

        Raises:
            subprocess.TimeoutExpired: not done in time; everything that the test started is ended first.
        """
        words = [str(word) for word in argv]
        with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
            process = self.popen(argv, cwd=cwd, env=env, stdout=stdout, stderr=stderr)
            try:
                process.wait(timeout)
            except subprocess.TimeoutExpired as expired:
                self.end_all()
                process.wait()
                expired.add_note(f"stdout: {_written(stdout)}\nstderr: {_written(stderr)}")
                raise
            return subprocess.CompletedProcess(words, process.returncode, _written(stdout), _written(stderr))

    def python(
        self, *args: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run python.exe; ``ras_runner`` and ``ras_standin`` of this checkout can be imported there."""
        return self.run([PYTHON, *args], cwd=cwd, env=env, timeout=timeout)

    def ras_runner(
        self, *args: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run ``ras-runner`` with these arguments."""
        return self.python("-m", "ras_runner", *args, cwd=cwd, env=env, timeout=timeout)

    def ras_standin(
        self, *args: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run ``ras-standin`` with these arguments."""
        return self.python("-m", "ras_standin", *args, cwd=cwd, env=env, timeout=timeout)

    def pytest(self, *args: str | Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Run pytest in this checkout, ``windows.pytest("tests/unit")``: it must not write beside the tests."""
        options = ("-p", "no:cacheprovider", "--basetemp", self.folder / "pytest")
        return self.python("-m", "pytest", *options, *args, cwd=REPO, timeout=timeout)

    def cmd(
        self, *lines: str, cwd: Path | None = None, env: Mapping[str, str] | None = None, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run lines of a batch file (ASCII) with cmd.exe; the file lies in the test's folder while it runs."""
        script = self.folder / f"cmd-{uuid.uuid4().hex}.cmd"
        script.write_text("\r\n".join(("@echo off", *lines, "")), encoding="ascii", newline="")
        try:
            return self.run(["cmd", "/d", "/c", script], cwd=cwd, env=env, timeout=timeout)
        finally:
            script.unlink()

    def running(self) -> list[str]:
        """Names of the programs that this test has started on the Windows machine and that still run."""
        names = []
        for pid in marked_processes(self.mark):
            with contextlib.suppress(OSError):  # it has just ended
                program = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode("utf-8", "replace")
                names.append(program.rpartition("\\")[2].lower())
        return sorted(name for name in names if name.endswith(".exe"))

    def end_all(self) -> None:
        """Kill whatever this test has started on the Windows machine and is still running."""
        while running := marked_processes(self.mark):
            for pid in running:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def text(output: bytes) -> str:
    """What a Windows program wrote: UTF-8 where it can be, else its code page (1252); plain line ends."""
    try:
        decoded = output.decode("utf-8")
    except UnicodeDecodeError:
        decoded = output.decode("cp1252", "replace")
    return decoded.replace("\r\n", "\n")


def _written(file: IO[bytes]) -> str:
    file.seek(0)
    return text(file.read())


def build_folder() -> Path:
    """The finished build that fits this checkout.

    Raises:
        WineUnavailable: this machine cannot run it, or it was not built.
    """
    if not Path("/proc/self/ns/pid").exists():
        raise WineUnavailable("Windows programs run under wine on Linux only")
    if os.geteuid() != 0:
        raise WineUnavailable("the wine chroot needs root: run pytest as root (sudo -E .venv/bin/pytest -m wine)")
    script = REPO / "tests" / "install-services.sh"
    answer = subprocess.run(
        ["bash", str(script), "wine-folder"], capture_output=True, text=True, check=True, timeout=60
    )
    folder = Path(answer.stdout.strip())
    if not (folder / "complete").exists():
        raise WineUnavailable(f"Windows CPython is not built: run tests/install-services.sh wine (it makes {folder})")
    return folder


@contextlib.contextmanager
def machine(
    build: Path, scratch: Path, *, writable: Sequence[Path], readable: Sequence[Path]
) -> Iterator[WindowsMachine]:
    """A Windows machine for the time of a ``with`` block.

    Args:
        build: the build that ``build_folder`` found.
        scratch: an empty folder, used as a mount point.
        writable, readable: folders that the machine is to see, at the paths they have here.
    """
    shared = [f"rw:{folder}" for folder in writable] + [f"ro:{folder}" for folder in readable]
    unshare = ["unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child", "env", "-i"]
    argv = [*unshare, *(f"{k}={v}" for k, v in {**ENVIRONMENT, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}.items())]
    argv += ["bash", str(HERE / "session.sh"), str(build / "root"), str(scratch), str(REPO / "runner"), *shared]
    # The machine ends when its standard input does: also when this process is killed.
    with (scratch.parent / f"{scratch.name}.log").open("w+b") as log:
        holder = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True
        )
        try:
            _wait_until_ready(holder, log.name)
            running = WindowsMachine(holder, _children(holder.pid)[0], (*writable, *readable))
        except BaseException:
            holder.kill()
            holder.wait()
            raise
    try:
        yield running
    finally:
        running.stop()


def _wait_until_ready(holder: subprocess.Popen[bytes], log: str) -> None:
    assert holder.stdout is not None
    readable, _, _ = select.select([holder.stdout], [], [], _START_SECONDS)
    said = holder.stdout.readline() if readable else b""
    if said.strip() != b"ready":
        reason = Path(log).read_text(encoding="utf-8", errors="replace").strip() or f"no answer in {_START_SECONDS} s"
        raise WineUnavailable(f"the wine chroot does not start here: {reason}")


def marked_processes(mark: str) -> list[int]:
    """Process ids, seen from here, of what the test or host with this mark has started on the Windows machine."""
    variable, found = f"{MARK}={mark}".encode(), []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has just ended
            if variable in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
    return found


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]
    except FileNotFoundError:
        return []
