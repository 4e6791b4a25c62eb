"""Failures on demand, each like one that HEC-RAS (or the machine under it) shows.

A fault is chosen with ``--fault`` or the environment variable ``RAS_STANDIN_FAULT``: ``NAME[:ARG]`` for every plan,
``p03=NAME[:ARG]`` for one; several are separated by commas, and the plan's own choice counts before the general one.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from ras_standin.errors import UsageError

#: Name -> what it does. ``at`` is the fraction of the run (0 to 1, default 0.5).
FAULTS = {
    "tcu": "waits for ever for a click on the terms and conditions",
    "hang-before": "hangs before anything is written",
    "hang": "hangs at ARG = fraction of the run (0.5)",
    "slow": "sleeps ARG seconds (1) at every output interval",
    "crash": "access violation at ARG = fraction (0.5), exit code 157",
    "segv": "killed by SIGSEGV at ARG = fraction (0.5)",
    "oom": "killed as for want of memory at ARG = fraction (0.5)",
    "exit": "ends in mid-run with exit code ARG (1)",
    "partial-hdf": "ends in mid-run at ARG = fraction (0.5), exit code 0, with part of the results",
    "unstable": "goes unstable at ARG = fraction (0.5)",
    "terminated": "says 'Terminated' at ARG = fraction (0.5), yet 'Complete Process' and exit code 0",
    "failed-to-run": "the solver does not start: 'Unsteady failed to run', exit code 0",
    "no-finish": "all results, but the summary is never finished",
    "no-results": "a results file without results",
    "truncated": "the results file is cut in half",
    "corrupt-bytes": "the results file begins with zeros and cannot be opened",
    "large": "a good results file with ARG megabytes (200) more in it, which do not compress",
    "tmp-left": "the results file is there, and the temporary one too",
    "rename-fails": "the temporary file cannot be renamed: no results file",
}
_ACCESS_VIOLATION = (
    "forrtl: severe (157): Program Exception - access violation\n"
    "Image              PC                Routine            Line        Source\n"
    "RasUnsteady        00007FF64F701486  STANDIN_FAULT         330  faults.py\n"
)
#: Windows has no signals: the exit codes that a process killed in the same way has there (signed 32 bit).
_WINDOWS_EXIT = {"segv": -1073741819, "oom": -1073741801}


@dataclass(frozen=True)
class Fault:
    """One fault; ``name`` is empty for a run that shall succeed."""

    name: str = ""
    argument: float | None = None

    def amount(self, default: float) -> float:
        """The argument, or ``default`` where none was given."""
        return default if self.argument is None else self.argument

    def before_start(self, say: Callable[[str], None]) -> None:
        """Strike before anything is read or written."""
        if self.name == "tcu":
            say("Terms and Conditions for Use (TCU)")
        if self.name in ("tcu", "hang-before"):
            hang()

    def strike(self, fraction: float, save_partial: Callable[[], None], last_words: Callable[[str], None]) -> bool:
        """Strike in mid-run, at ``fraction``; called after every output interval or profile.

        ``save_partial`` writes what has been computed so far to the results file; ``last_words`` takes what Ras.exe
        says when its solver has crashed.

        Returns:
            True if the solver has to stop now (``unstable``, ``terminated``); what ends the process does not return.
        """
        if self.name == "slow":
            time.sleep(self.amount(1.0))
        at = 0.5 if self.name == "exit" else self.amount(0.5)
        if fraction < at - 1e-9:
            return False
        if self.name == "hang":
            hang()
        if self.name == "partial-hdf":
            save_partial()
            leave(0)
        if self.name in ("crash", "segv", "oom", "exit"):
            self._die(last_words)
        return self.name in ("unstable", "terminated")

    def _die(self, last_words: Callable[[str], None]) -> NoReturn:
        if self.name == "exit":
            leave(int(self.amount(1.0)))
        if self.name == "crash":
            _complain(_ACCESS_VIOLATION)
            last_words("Error with program: RasUnsteady.exe  Exit Code = 157")
            leave(157)
        if self.name == "oom":
            _complain("Killed\n")
        if sys.platform == "win32":
            leave(_WINDOWS_EXIT[self.name])
        os.kill(os.getpid(), signal.SIGSEGV if self.name == "segv" else signal.SIGKILL)
        hang()


def select(text: str, plan: str) -> Fault:
    """Return the fault that ``text`` chooses for ``plan`` (``p04``).

    Raises:
        UsageError: an unknown name (the message lists the valid ones) or an argument that is not a number.
    """
    chosen: dict[str, Fault] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        match = re.fullmatch(r"(?:(p\d\d)=)?([a-z-]+)(?::([\d.]+))?", item, re.IGNORECASE)
        if match is None:
            raise UsageError(f"fault {item!r} is not NAME, NAME:NUMBER or p04=NAME:NUMBER")
        name = match[2].lower()
        if name not in FAULTS:
            raise UsageError(f"unknown fault {name!r}; one of: {', '.join(FAULTS)}")
        chosen[(match[1] or "").lower()] = Fault(name, float(match[3]) if match[3] else None)
    return chosen.get(plan) or chosen.get("") or Fault()


def hang() -> NoReturn:
    """Wait for ever."""
    while True:
        time.sleep(3600)


def leave(code: int) -> NoReturn:
    """End the process at once, as a crash does: nothing is closed or written any more."""
    os._exit(code)


def _complain(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
