"""What a program costs: CPU time of the process and of everything it started, also of what it detached."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_BURN = 0.4
#: Ends at once; leaves a process in a session of its own, without a parent, that burns CPU.
_DETACHING = f"""
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        while time.process_time() < {_BURN}:
            pass
    os._exit(0)
"""


class MeasureError(Exception):
    """A measurement is not possible, or not to be trusted."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a program cost.

    Attributes:
        cpu: user and system seconds of it and all its descendants.
        own_cpu: of it and the descendants that it waited for: what ``RUSAGE_CHILDREN`` shows.
        wall: seconds until it ended; what it detached may end later.
        exit_code: its own.
    """

    cpu: float
    own_cpu: float
    wall: float
    exit_code: int


def become_subreaper() -> None:
    """Make this process the parent of every descendant whose own parent ends, so that its times can be read.

    Raises:
        MeasureError: not Linux, or refused.
    """
    if sys.platform != "linux":
        raise MeasureError("CPU time of detached processes can be measured on Linux only (it takes a subreaper)")
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise MeasureError(f"prctl: {os.strerror(ctypes.get_errno())}")


def measured(argv: Sequence[str], log: Path, *, limit: float = 600.0) -> Cost:
    """Run a program, and wait until it and everything it started has ended.

    Args:
        argv: program and arguments.
        log: file for its streams.
        limit: seconds after which all of it is killed.

    Raises:
        MeasureError: the limit was reached.
    """
    begun = time.monotonic()
    with log.open("wb") as out:
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
    previous = signal.signal(signal.SIGALRM, _too_long)
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        return _reaped(child, begun)
    except TimeoutError as error:
        _kill_descendants()
        raise MeasureError(f"not done after {limit:.0f} s: {' '.join(argv[:2])}; log: {log}") from error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def _reaped(child: subprocess.Popen[bytes], begun: float) -> Cost:
    cpu = own = wall = 0.0
    while True:
        try:
            pid, status, usage = os.wait4(-1, 0)
        except ChildProcessError:
            return Cost(cpu, own, wall, child.returncode)
        cpu += usage.ru_utime + usage.ru_stime
        if pid == child.pid:
            own, wall = usage.ru_utime + usage.ru_stime, time.monotonic() - begun
            child.returncode = os.waitstatus_to_exitcode(status)


def _too_long(*_: object) -> None:
    raise TimeoutError


def _kill_descendants() -> None:
    import psutil

    for process in psutil.Process().children(recursive=True):
        process.kill()
    while True:
        try:
            os.wait4(-1, 0)
        except ChildProcessError:
            return


def check_method(log: Path) -> str:
    """Prove that the CPU of a detached process is counted; one line that says how.

    Raises:
        MeasureError: it is not.
    """
    cost = measured([sys.executable, "-S", "-c", _DETACHING], log)
    if cost.exit_code != 0 or cost.own_cpu >= _BURN or cost.cpu < _BURN:
        raise MeasureError(
            f"self-check failed: a detached process burnt {_BURN} CPU s, counted were {cost.cpu:.2f} s "
            f"({cost.own_cpu:.2f} s by RUSAGE_CHILDREN, exit code {cost.exit_code}); log: {log}"
        )
    return (
        f"a process that detached itself burnt {_BURN} CPU s: {cost.cpu:.2f} s were counted, "
        f"where RUSAGE_CHILDREN shows {cost.own_cpu:.2f} s"
    )


def tree_bytes(folder: Path) -> int:
    """Bytes of the files below a folder, hard-linked ones once."""
    sizes = {}
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            info = path.stat()
            sizes[info.st_ino] = info.st_size
    return sum(sizes.values())


def last_line(log: Path) -> str:
    """The last line that a program wrote."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def apart(argv: Sequence[str], log: Path) -> tuple[Cost, float]:
    """As :func:`measured`, by a process of its own: children that this process has besides are not waited for.

    Returns:
        The cost, and the CPU seconds of that process.

    Raises:
        MeasureError: it could not be measured.
    """
    command = [sys.executable, __file__, str(log), *argv]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise MeasureError(done.stderr.strip())
    told = json.loads(done.stdout)
    return Cost(**told["cost"]), told["own"]


def everything() -> float:
    """CPU seconds of all descendants of this process, which has to be a subreaper: those that live, and all others."""
    import psutil

    total = 0.0
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess, ChildProcessError):
            if process.status() == psutil.STATUS_ZOMBIE and process.ppid() == os.getpid():
                os.waitpid(process.pid, os.WNOHANG)  # its times count below, exactly
            else:
                total += sum(process.cpu_times()[:4])
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return total + usage.ru_utime + usage.ru_stime


def _main() -> None:
    """Measure a program for :func:`apart`."""
    become_subreaper()
    cost = measured(sys.argv[2:], Path(sys.argv[1]))
    print(json.dumps({"cost": asdict(cost), "own": time.process_time()}))


if __name__ == "__main__":
    try:
        _main()
    except MeasureError as reason:
        sys.exit(str(reason))
