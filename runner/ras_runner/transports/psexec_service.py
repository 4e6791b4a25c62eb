"""Starting programs on a Windows host through its service manager: pypsexec's PAExec service, one a start.

Every service has names of its own, so that starts at the same time do not meet, and names that say whose it is. It is
gone as soon as the program runs. What could not be removed is removed by the next start, or by :meth:`Services.reap`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from ras_runner.errors import OperatorError, RasRunnerError, WorkerError
from ras_runner.packages import required
from ras_runner.retrying import retrying
from ras_runner.transports.smb_errors import (
    ACCESS_DENIED,
    NOT_FOUND,
    AgainError,
    SmbStatusError,
    status_text,
)
from ras_runner.transports.smb_login import SmbLinks
from ras_runner.transports.smb_share import Share

if TYPE_CHECKING:
    from collections.abc import Callable

    from pypsexec.client import Client

    from ras_runner.transports.smb_login import Link

Result = TypeVar("Result")
_STEP = "launch"
#: Seconds that a host gets to take the service and start a program, and the service to open its pipe.
_START_SECONDS, _PIPE_SECONDS = 60.0, 20.0
_PIPE_WAIT_UNKNOWN = frozenset({0xC000019C, 0xC0000010, 0xC00000BB})
#: ``PAExec-<process id>-rasr<owner>-<start time>-<random>``
_NAME = re.compile(r"PAExec-\d+-rasr(?P<owner>[0-9a-f]{8})-(?P<time>[0-9a-f]{8})-[0-9a-f]{8}", re.IGNORECASE)
#: A start takes seconds; what is older than this many was left behind.
LEFTOVER_SECONDS = 600.0
_POLICY = "LocalAccountTokenFilterPolicy"
_ALLOW = "allow PAExec-*.exe in C:\\Windows there"

#: Windows error code of a service call -> cause, what to do, whether another try may help.
_SERVICE_ERRORS = {
    2: ("the file of the service is not there: a virus scanner may have taken it", _ALLOW),
    5: (
        f"access to the service manager is denied: the account is no administrator there, or {_POLICY} is not 1",
        "add the account to Administrators; for a local account set the registry value "
        f"HKLM\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Policies\\System\\{_POLICY} to 1: "
        "Ansible role ras.runner.remote_admin",
    ),
    193: ("the file of the service is damaged: a virus scanner may have changed it", _ALLOW),
    225: ("a virus scanner forbids the service", _ALLOW),
    1053: ("the service did not start in time", "look at the host's load and its virus scanner"),
    1072: ("the service is marked for deletion", "close the Services window on the host"),
}
_AGAIN = frozenset({1053, 1056, 1072, 1073})


@dataclass(frozen=True, slots=True)
class Start:
    """What is to be started.

    Attributes:
        executable, arguments: as CreateProcess takes them; ``arguments`` is one command line.
        folder: to start in, on the host.
        session: id of the session whose desktop it gets; None for a program without one.
        system_account: run it as SYSTEM instead of the account that has logged on.
    """

    executable: str
    arguments: str
    folder: str
    session: int | None = None
    system_account: bool = False


class Services:
    """PAExec services on one host.

    Args:
        links: connections to the host.
        owner: ``user@machine`` of this controller: whose services they are.
    """

    def __init__(self, links: SmbLinks, owner: str) -> None:
        required("pypsexec", "PsExec workers", "windows")
        self._links = links
        self._owner = hashlib.sha256(owner.encode()).hexdigest()[:8]
        #: Services that could not be removed when they were done with.
        self._left: list[str] = []

    @property
    def host(self) -> str:
        """The host's name."""
        return self._links.login.host

    def start(self, what: Start) -> int:
        """Start a program and return its process id at once. It needs neither the service nor the connection.

        Raises:
            LostConnectionError: the answer was lost; it may run.
            WorkerError, OperatorError: the host does not start it; says why.
        """
        return retrying(lambda: self._start(what), AgainError, attempts=3, first=0.3, longest=2.0)

    def _start(self, what: Start) -> int:
        name = f"PAExec-{os.getpid()}-rasr{self._owner}-{int(time.time()):08x}-{uuid.uuid4().hex[:8]}"
        told = False

        def work(link: Link) -> int:
            nonlocal told
            client = self._client(link, name)
            self._install(client)
            try:
                self._await_pipe(link, f"{name}.exe")
                told = True
                return self._run(client, what)
            finally:
                self._uninstall(client, name)

        left, self._left = self._left, []
        for old in left:
            self._remove(old)
        try:
            return self._links.call(_STEP, lambda link: _clean(link, lambda: work(link)), limit=_START_SECONDS)
        except SmbStatusError as error:
            raise self._status_error(error) from error
        except AgainError as error:
            if told:  # it may run by now: whoever asked has to find out
                raise LostLaunchError(error.cause, step=_STEP, host=self.host, action=error.action) from error
            raise

    def _client(self, link: Link, name: str) -> Client:
        """pypsexec's client on a connection that is logged on; its own names would be the same for all of a process."""
        from pypsexec.client import Client
        from pypsexec.paexec import get_unique_id
        from pypsexec.scmr import Service

        client = Client(self.host, port=self._links.login.port)
        client.connection, client.session = link.connection, link.session
        number = uuid.uuid4().int & 0xFFFFFFF
        client.pid, client.current_host = number, f"rasr{uuid.uuid4().hex[:8]}"
        client._unique_id = get_unique_id(number, client.current_host)
        client.service_name, client._exe_file = name, f"{name}.exe"
        for stream in ("out", "err", "in"):
            pipe = f"PaExec{stream.capitalize()}{client.current_host}{number}"
            setattr(client, f"_std{stream}_pipe_name", pipe)
        client._service = Service(name, link.session)
        return client

    def _install(self, client: Client) -> None:
        """Send the service's file, make the service and start it; nothing is left when that fails."""
        from pypsexec.exceptions import PypsexecException, SCMRException
        from smbprotocol.exceptions import SMBResponseException

        try:
            client._service.open()
        except SMBResponseException as error:
            if error.status in NOT_FOUND:
                raise self._not_windows("it has no service manager (svcctl)") from error
            raise
        except SCMRException as error:
            raise self._service_error(error.return_code) from error
        try:
            client.create_service()
            client._service.start()
            client._service.start = _started  # run_executable would ask for it once more
        except Exception as error:
            self._uninstall(client, client.service_name)
            if isinstance(error, SCMRException):
                raise self._service_error(error.return_code) from error
            if isinstance(error, PypsexecException):
                raise WorkerError(
                    str(error), step=_STEP, host=self.host, action="look at the host's load and its virus scanner"
                ) from error
            raise

    def _await_pipe(self, link: Link, pipe: str) -> None:
        """Wait until the service listens. pypsexec itself looks again after 5 s only."""
        from pypsexec.pipe import FSCTLPipeWait
        from smbprotocol.exceptions import SMBResponseException
        from smbprotocol.ioctl import CtlCode, IOCTLFlags, SMB2IOCTLRequest

        tree = link.tree(rf"\\{self.host}\IPC$")
        end = time.monotonic() + _PIPE_SECONDS
        while True:
            request, wait = SMB2IOCTLRequest(), FSCTLPipeWait()
            wait["name"] = pipe.encode("utf-16-le")
            request["ctl_code"], request["file_id"] = CtlCode.FSCTL_PIPE_WAIT, b"\xff" * 16
            request["flags"], request["buffer"] = IOCTLFlags.SMB2_0_IOCTL_IS_FSCTL, wait
            connection = tree.session.connection
            try:
                connection.receive(connection.send(request, tree.session.session_id, tree.tree_connect_id))
            except SMBResponseException as error:
                if error.status in _PIPE_WAIT_UNKNOWN:  # the host cannot tell
                    return
                if error.status not in NOT_FOUND:
                    raise
                if time.monotonic() > end:
                    raise self._service_error(1053) from error
                time.sleep(0.05)
            else:
                return

    def _run(self, client: Client, what: Start) -> int:
        from pypsexec.exceptions import PAExecException, PypsexecException

        try:
            _, _, pid = client.run_executable(
                what.executable,
                arguments=what.arguments,
                working_dir=what.folder,
                asynchronous=True,
                interactive=what.session is not None,
                interactive_session=what.session or 0,
                use_system_account=what.system_account,
                run_elevated=False,
            )
        except PAExecException as error:
            raise NotStartedError(
                f"{what.executable} was not started in {what.folder}: {error.message.partition(': ')[2].strip()}",
                step=_STEP,
                host=self.host,
                action=f"check that {what.folder} is there, and that session {what.session} is logged on"
                if what.session is not None
                else f"check that {what.folder} is there",
            ) from error
        except PypsexecException as error:
            raise WorkerError(
                str(error), step=_STEP, host=self.host, action="look at the host's load and its virus scanner"
            ) from error
        return int(pid)

    def _uninstall(self, client: Client, name: str) -> None:
        """Remove the service and its file; what cannot be removed now is remembered."""
        try:
            client.remove_service()
            client._service._scmr.close()  # and with the pipe all its handles
        except Exception:  # whatever it is, the reason of the failed start is worth more
            self._left.append(name)

    def leftovers(self) -> list[str]:
        """Services and service files of this controller that earlier starts have left, by name.

        Raises:
            WorkerError, OperatorError: they cannot be listed.
        """

        from pypsexec.exceptions import SCMRException

        def work(link: Link) -> set[str]:
            admin = Share(link.tree(rf"\\{self.host}\ADMIN$"))
            files = {entry.name.removesuffix(".exe") for entry in admin.folder("")}
            try:
                return files | _service_names(link)
            except SCMRException as error:
                raise self._service_error(error.return_code) from error

        found, now = self._call("find leftovers", work), time.time()
        return sorted(
            name
            for name in found
            if (match := _NAME.fullmatch(name))
            and match["owner"].lower() == self._owner
            and now - int(match["time"], 16) > LEFTOVER_SECONDS
        )

    def reap(self) -> list[str]:
        """Remove :meth:`leftovers`, and nothing else; the names of what is gone now."""
        return [name for name in self.leftovers() if self._remove(name)]

    def _remove(self, name: str) -> bool:
        def work(link: Link) -> None:
            client = self._client(link, name)
            client._service.open()
            client.remove_service()
            client._service.close()

        try:
            self._call("reap", work)
        except RasRunnerError:
            self._left.append(name)
            return False
        return True

    def _call(self, step: str, work: Callable[[Link], Result]) -> Result:
        from pypsexec.exceptions import PypsexecException, SCMRException

        try:
            return self._links.call(step, lambda link: _clean(link, lambda: work(link)))
        except SmbStatusError as error:
            raise self._status_error(error) from error
        except SCMRException as error:
            raise self._service_error(error.return_code) from error
        except PypsexecException as error:
            raise WorkerError(
                str(error), step=step, host=self.host, action="look at the host's load and its virus scanner"
            ) from error

    def _status_error(self, error: SmbStatusError) -> RasRunnerError:
        if error.status == ACCESS_DENIED:
            return OperatorError(
                f"access to ADMIN$ is denied: the account is no administrator there, or {_POLICY} is not 1",
                step=_STEP,
                host=self.host,
                action=_SERVICE_ERRORS[5][1],
            )
        if error.status == 0xC00000CC:
            return self._not_windows("it has no share ADMIN$ (not Windows, or AutoShareWks is 0)")
        return WorkerError(
            f"the service could not be used: {status_text(error.status)}",
            step=_STEP,
            host=self.host,
            action="look at the host's load and its virus scanner",
        )

    def _not_windows(self, cause: str) -> OperatorError:
        return OperatorError(
            f"it answers as a file server, but programs cannot be started there: {cause}",
            step=_STEP,
            host=self.host,
            action="use a Windows host whose administrative shares are on; a Linux host takes worker type ssh",
        )

    def _service_error(self, code: int) -> RasRunnerError:
        cause, action = _SERVICE_ERRORS.get(code, (f"the service manager says error {code}", f"net helpmsg {code}"))
        if code in _AGAIN:
            return AgainError(f"{cause} (error {code})", step=_STEP, host=self.host, action=action)
        return OperatorError(f"{cause} (error {code})", step=_STEP, host=self.host, action=action)


class LostLaunchError(WorkerError):
    """The answer to a start was lost: the program may run."""


class NotStartedError(WorkerError):
    """The host could not make the process."""


def _started() -> None:
    """It is."""


def _clean(link: Link, work: Callable[[], Result]) -> Result:
    """Do it; a connection on which something went wrong has half-done calls on it and is not used again."""
    try:
        return work()
    except Exception:
        link.close()
        raise


def _service_names(link: Link) -> set[str]:
    from pypsexec.scmr import EnumServiceState, Service, ServiceType

    manager = Service("PAExec", link.session)
    manager.open()
    with contextlib.closing(manager):
        found = manager._scmr.enum_services_status_w(
            manager._scmr_handle, ServiceType.SERVICE_WIN32_OWN_PROCESS, EnumServiceState.SERVICE_STATE_ALL
        )
    return {str(service["service_name"]) for service in found}
