"""Errors, typed by what the reader should do about them.

Every message says where (host), at what step, why (cause), and what to do next; where a log exists, its path.
"""

from __future__ import annotations


class RasRunnerError(Exception):
    """Base of all errors that ras-runner reports on purpose.

    Args:
        cause: what went wrong, one sentence, with the names of the things involved.
        action: what the reader should do next.
        step: what was being done (``open project``, ``stage``, ``launch``, ``publish`` ...).
        host: the machine it happened on; left out when it is the controller itself.
        log: path of a log that says more.
    """

    #: One word that says who has to act; used by the CLI and stored in the journal.
    kind = "error"

    def __init__(self, cause: str, *, action: str = "", step: str = "", host: str = "", log: str = "") -> None:
        self.cause, self.action, self.step, self.host, self.log = cause, action, step, host, log
        super().__init__(str(self))

    def __str__(self) -> str:
        where = ": ".join(part for part in (self.host, self.step) if part)
        text = f"{where}: {self.cause}" if where else self.cause
        if self.action:
            text += f"\n  next: {self.action}"
        if self.log:
            text += f"\n  log: {self.log}"
        return text


class InputError(RasRunnerError):
    """The project, a plan or a parameter is wrong: the user fixes the input."""

    kind = "input"


class WorkerError(RasRunnerError):
    """A worker failed: the work goes to another worker."""

    kind = "worker"


class TransientError(RasRunnerError):
    """It may work in a moment: tried again later."""

    kind = "transient"


class OperatorError(RasRunnerError):
    """A person must act (install, log on, free disk space, grant a right)."""

    kind = "operator"


class DiskFullError(OperatorError):
    """The disk of a worker folder is full.

    Args:
        root: the worker folder.
        step: what was being done.
        host: the machine.
    """

    def __init__(self, root: object, *, step: str, host: str) -> None:
        super().__init__(
            f"the disk of the worker folder {root} is full",
            step=step,
            host=host,
            action="free space there, or give another worker_folder; then: ras-runner resume",
        )
