"""A Windows host behind SMB alone: files on a share, programs started through its service manager.

Nothing stays open between calls: a run is found again by the files of its folder and by the host's list of processes.
Even commands are run that way: started with their output in a file below the worker folder, which is read over the
share. PAExec's own pipes are slow, and what waits on them waits for ever.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from ras_runner.engines.cmdline import join_cmd
from ras_runner.errors import OperatorError, RasRunnerError, TransientError, WorkerError
from ras_runner.retrying import retrying
from ras_runner.transports.base import Probe, Status, Upload
from ras_runner.transports.psexec_service import LostLaunchError, NotStartedError, Services, Start
from ras_runner.transports.smb import SmbFiles
from ras_runner.transports.smb_errors import NOT_FOUND, AgainError, SmbStatusError, status_error
from ras_runner.transports.smb_share import Share
from ras_runner.transports.windows_processes import (
    BadListError,
    KnownTree,
    Process,
    attempt_processes,
    list_command,
    read_processes,
)
from ras_runner.transports.windows_sessions import WindowsSession, choose_session, read_sessions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import PurePath, PureWindowsPath

    from ras_runner.transports.smb import RunFiles
    from ras_runner.transports.smb_login import Link, SmbLogin

#: Seconds between two looks at the host's processes while a run has no exit.json, and while one that has may go on.
CHECK_SECONDS, _END_SECONDS = 15.0, 2.0
#: Processes that cannot be looked at for so long are no longer taken to be running.
_UNSURE_SECONDS = 600.0
#: A session that was seen so many seconds ago is looked at again before a start.
_SESSION_SECONDS = 60.0
_TAIL_SECONDS = 2.0
#: The folder of a command is older than this only when its controller was killed.
_CALL_SECONDS = 86400.0
_COMMAND_SECONDS = 30.0
_STOP_ROUNDS = 5
#: Seconds that a run script gets to claim its workspace when the answer to its start was lost.
_CLAIM_SECONDS = 10.0
#: PAExec's words for error 267, "the directory name is invalid", in any language.
_NO_FOLDER = re.compile(r"\b(267|0x10B)\b", re.IGNORECASE)
_POWERSHELL = ("powershell.exe", "-NoLogo", "-NoProfile", "-NonInteractive", "-Command")


@dataclass(slots=True)
class _Seen:
    """What is known of an attempt between two looks.

    Attributes:
        first: when it was first looked at, seconds of a monotonic clock.
        checked: when its processes were last seen; 0 for never.
        tried: when they were last looked for.
        alive: whether it had any.
        cpu_seconds: CPU time of those it had; None before the first look.
        tree: its processes so far.
        tails, read: ends of its progress files, and when they were read.
    """

    first: float
    checked: float = 0.0
    tried: float = 0.0
    alive: bool = True
    cpu_seconds: float | None = None
    tree: KnownTree | None = None
    tails: tuple[str, ...] = ()
    read: float = field(default=-_TAIL_SECONDS)


class PsExecTransport(SmbFiles):
    """Files and programs on one Windows host.

    Args:
        share, root, login: see :class:`~ras_runner.transports.smb.SmbFiles`.
        session: id of the session whose desktop runs get, or ``auto``.
        user: whose session it has to be; empty for anybody's.
        owner: ``user@machine`` of this controller.
        system_account: run plans as SYSTEM.
    """

    def __init__(
        self,
        share: PureWindowsPath,
        root: PureWindowsPath,
        login: SmbLogin,
        *,
        session: int | Literal["auto"],
        user: str,
        owner: str,
        system_account: bool = False,
    ) -> None:
        super().__init__(share, root, login)
        self.services = Services(self.links, owner)
        self._wanted, self._user, self._system = session, user, system_account
        self._session: WindowsSession | None = None
        self._session_seen = 0.0
        self._seen: dict[str, _Seen] = {}
        self._learning = threading.Lock()  # a stop and a look may come at the same time
        self._checking = threading.Thread()
        #: Why the host's processes could not be looked at the last time.
        self._trouble: RasRunnerError | None = None

    def prepare(self) -> None:
        """As for files; then see that programs can be started, that share and worker folder are one place and that
        there is a session, and remove what controllers of ours that were killed have left.

        Raises:
            WorkerError, OperatorError: the host cannot be used; says why.
        """
        super().prepare()
        self.session()
        self.services.reap()
        for folder in self.older_than(self.root / "q", _CALL_SECONDS):
            self.remove(folder)

    def sessions(self) -> list[WindowsSession]:
        """The sessions of the host.

        Raises:
            OperatorError: the host cannot tell.
        """
        output = self.command(("query.exe", "session"))
        found = read_sessions(output)
        if not found:
            raise OperatorError(
                f"the host does not tell its sessions: {output.strip() or 'query session printed nothing'}",
                step="choose session",
                host=self.host,
                action="install a Windows edition with query.exe (Pro, Enterprise, Server), or use worker type winrm",
            )
        return found

    def session(self) -> WindowsSession:
        """The session whose desktop the next run gets, seen to be Active within the last minute.

        Raises:
            OperatorError: there is none; shows those there are.
        """
        if self._session is None or time.monotonic() - self._session_seen > _SESSION_SECONDS:
            self._session = choose_session(self.sessions(), self._wanted, self._user, self.host)
            self._session_seen = time.monotonic()
        return self._session

    def names_in(self, folder: PureWindowsPath) -> list[str]:
        """The names in any folder of the host, through the share that administrators have of its drive; none when it
        is not there."""
        share = rf"\\{self.host}\{folder.drive.rstrip(':')}$"

        def work(link: Link) -> list[str]:
            return [entry.name for entry in Share(link.tree(share)).folder("\\".join(folder.parts[1:]))]

        try:
            return self.links.call("look for programs", work)
        except SmbStatusError as error:
            if error.status in NOT_FOUND:
                return []
            error.path = error.path or share
            raise status_error(self.host, "look for programs", str(folder), error) from error

    def command(self, arguments: Sequence[str], *, limit: float = _COMMAND_SECONDS) -> str:
        """Run a short program without a desktop and return what it printed, stderr too.

        Args:
            arguments: the program and its arguments. When the network fails it may be run again.
            limit: seconds that it may take.

        Raises:
            OperatorError: share and worker folder are not the same place.
            TransientError: it did not end in time.
        """
        return retrying(
            lambda: self._command(arguments, limit), AgainError, LostLaunchError, attempts=3, first=0.2, longest=2.0
        )

    def _command(self, arguments: Sequence[str], limit: float) -> str:
        folder = self.root / "q" / uuid.uuid4().hex[:10]
        lines = ["@echo off", f"{join_cmd(arguments)} >out 2>&1 <nul", ">end.tmp echo %ERRORLEVEL%", "ren end.tmp end"]
        self.put([Upload("\r\n".join([*lines, ""]).encode("ascii"), folder / "call.cmd")])
        try:
            self.services.start(Start("cmd.exe", r"/d /c .\call.cmd", str(folder)))
            end, wait = time.monotonic() + limit, 0.03
            while self.read(folder / "end") is None:
                if time.monotonic() > end:
                    raise TransientError(
                        f"{arguments[0]} did not end within {limit:.0f} s",
                        step="run command",
                        host=self.host,
                        action="look at the host's load; it is tried again",
                    )
                time.sleep(wait)
                wait = min(wait * 1.3, 0.5)
            return _text(self.read(folder / "out", last=1 << 22) or b"")
        except NotStartedError as error:
            if _NO_FOLDER.search(error.cause):
                raise self._elsewhere(error) from error
            raise
        finally:
            with contextlib.suppress(WorkerError, TransientError):
                self.remove(folder)

    def _elsewhere(self, error: NotStartedError) -> OperatorError:
        share = str(self.share).rstrip("\\")
        return OperatorError(
            f"what is written through the share {share} is not seen in {self.root} on the host: they are not the "
            f"same folder ({error.cause})",
            step="run command",
            host=self.host,
            action="correct share_path or worker_folder: net share, on the host, shows the folder of each share",
        )

    def launch(self, attempt: str, folder: PurePath, script: str, *, cores: int = 1, campaign: str = "") -> str:
        """Start the run script on the desktop; its process id."""
        del cores, campaign  # the engine keeps to its cores; the attempt's id on the command line is its mark
        session = self.session()
        what = Start("cmd.exe", rf"/d /c .\{script} {attempt}", str(folder), session.id, self._system)
        try:
            return str(self.services.start(what))
        except LostLaunchError:  # what was started claims its workspace at once
            end = time.monotonic() + _CLAIM_SECONDS
            while not self.exists(folder / "claim"):
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)
            return ""

    def poll(self, probes: Sequence[Probe]) -> dict[str, Status]:
        """Look at many attempts: their files each time, the host's processes now and then, which nobody waits for."""
        now = time.monotonic()
        seen = {probe.attempt: self._known(probe) for probe in probes}
        alive = {attempt: known.alive for attempt, known in seen.items()}  # before the files: exit.json comes first
        files = {probe.attempt: self.look(probe.folder) for probe in probes}
        if any(_due(p, seen[p.attempt], files[p.attempt], now) for p in probes) and not self._checking.is_alive():
            if self._trouble and any(now - max(s.checked, s.first) > _UNSURE_SECONDS for s in seen.values()):
                raise self._trouble
            wanted = [p for p in probes if files[p.attempt].exit_code is None or p.whole_tree]
            for probe in wanted:
                seen[probe.attempt].tried = now
            # no daemon: what it has begun on the host is put away before this process ends
            self._checking = threading.Thread(target=self._check, args=(wanted,))
            self._checking.start()
        return {p.attempt: self._status(p, files[p.attempt], now, alive=alive[p.attempt]) for p in probes}

    def _status(self, probe: Probe, files: RunFiles, now: float, *, alive: bool) -> Status:
        seen = self._known(probe)
        alive = alive and (files.exit_code is None or probe.whole_tree)
        if now - seen.read >= _TAIL_SECONDS or not alive:
            seen.tails, seen.read = self.tails(probe.progress_files), now
        if not alive:
            self._seen.pop(probe.attempt, None)
        return Status(alive, files.exit_code, files.seconds, seen.tails, cpu_seconds=seen.cpu_seconds)

    def _check(self, probes: Sequence[Probe]) -> None:
        """Look at the processes of attempts; a look that fails counts as none for a while."""
        try:
            listed, processes = self._processes()
            for probe in probes:
                self._learn(probe, listed, processes)
        except RasRunnerError as error:
            self._trouble = error
        except Exception as error:  # a bug of ours must not keep a plan waiting for ever
            self._trouble = WorkerError(f"{type(error).__name__}: {error}", step="list processes", host=self.host)
        else:
            self._trouble = None

    def _known(self, probe: Probe) -> _Seen:
        return self._seen.setdefault(probe.attempt, _Seen(time.monotonic()))

    def _learn(self, probe: Probe, listed: int, processes: Sequence[Process]) -> list[Process]:
        """What a list of processes tells of an attempt; what is new is kept in its folder for the next controller."""
        with self._learning:
            seen, kept = self._known(probe), probe.folder / "tree.json"
            if seen.tree is None:
                seen.tree = KnownTree.from_json(self.read(kept))
            before = seen.tree.to_json()
            found = attempt_processes(processes, listed, probe.attempt, seen.tree)
            if seen.tree.to_json() != before:
                self.put([Upload(seen.tree.to_json(), kept)])
            seen.checked, seen.alive = time.monotonic(), bool(found)
            seen.cpu_seconds = sum(p.cpu_seconds for p in found) if probe.cpu else None
            return found

    def _processes(self, ending: Sequence[Process] = ()) -> tuple[int, list[Process]]:
        output = self.command((*_POWERSHELL, list_command(ending)))
        try:
            return read_processes(output)
        except BadListError as error:
            said = output.strip().splitlines()[-1:] or ["it printed nothing"]
            raise WorkerError(
                f"{error} ({said[0]})", step="list processes", host=self.host, action="check that PowerShell runs there"
            ) from error

    def stop(self, probe: Probe) -> None:
        """End the whole process tree of an attempt: processes are ended by number and creation time, never by name."""
        left = self._learn(probe, *self._processes())
        for _ in range(_STOP_ROUNDS):
            if not left:
                return
            left = self._learn(probe, *self._processes(left))
        raise WorkerError(
            f"processes {', '.join(str(p.pid) for p in left)} of attempt {probe.attempt} could not be ended",
            step="stop",
            host=self.host,
            action="end them by hand; their workspace is kept",
        )


def _due(probe: Probe, seen: _Seen, files: RunFiles, now: float) -> bool:
    """Whether an attempt's processes have to be looked at now."""
    if files.exit_code is None:
        return seen.alive and now - max(seen.tried, seen.first) >= CHECK_SECONDS
    return probe.whole_tree and seen.alive and now - seen.tried >= _END_SECONDS


def _text(output: bytes) -> str:
    """UTF-8 where it can be; else the column layout is what counts, whatever the code page."""
    try:
        return output.decode("utf-8")
    except UnicodeDecodeError:
        return output.decode("latin-1")
