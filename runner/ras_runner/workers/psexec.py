"""The PsExec worker: plans run on the desktop of a Windows host that is reached over SMB alone."""

from __future__ import annotations

import getpass
import warnings
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from ras_runner.engines.base import System
from ras_runner.engines.standin import StandinEngine
from ras_runner.errors import OperatorError
from ras_runner.secret import check_reference, resolve_secret
from ras_runner.transports.psexec import PsExecTransport
from ras_runner.transports.smb_login import SmbLogin
from ras_runner.validation import validated
from ras_runner.workers.base import Worker, WorkerId, WorkerSpec, this_owner
from ras_runner.workers.windows import Command, SharePath, WindowsFolder, find_remote_engine

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from ras_runner.engines.base import Engine


class PsExecSpec(WorkerSpec):
    """Parameters of ``init_ras_worker("psexec", ...)``.

    Attributes:
        hostname: name or address of the host.
        share_path: ``\\\\host\\share`` that plans are staged through.
        worker_folder: the same folder as the host itself has it.
        session_id: id of the session whose desktop HEC-RAS gets; ``auto`` for the Active one of the user.
        username: who logs on; this machine's own identity when left out.
        domain: of the user; empty for a local account.
        password: reference to the password: ``env:NAME``, ``file:path``, ``keyring:service/user``.
        port: of the host's SMB service.
        system_account: run plans as SYSTEM; takes a session id, and is warned about.
        engine: ``hecras-windows`` or ``standin``.
        ras_exe_path: Ras.exe on the host; looked for in HEC's install folders when left out.
        version: HEC-RAS version, when several are installed.
        standin_command: how the stand-in is started there: a program, or a list with its first arguments.
    """

    worker_id: WorkerId = "psexec"
    engine: Literal["hecras-windows", "standin"] = "hecras-windows"
    hostname: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:%-]*$")]
    share_path: SharePath
    worker_folder: WindowsFolder = r"C:\RasRemote"
    session_id: Annotated[int, Field(ge=0, le=65535)] | Literal["auto"] = "auto"
    username: Annotated[str, Field(pattern=r"^[^\x00-\x1f/:*?\"<>|]*$")] = ""
    domain: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]*$")] = ""
    password: Annotated[str, AfterValidator(lambda text: text and check_reference(text))] = ""
    port: Annotated[int, Field(ge=1, le=65535)] = 445
    system_account: bool = False
    ras_exe_path: str = ""
    version: Annotated[str, Field(pattern=r"^[0-9A-Za-z. _-]*$")] = ""
    standin_command: Command = ("ras-standin",)

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if bool(self.username) != bool(self.password):
            raise ValueError("give username and password together, or neither for this machine's own identity")
        if self.system_account and self.session_id == "auto":
            raise ValueError(
                "system_account needs a session_id: SYSTEM has no desktop of its own, and HEC-RAS hangs without one"
            )
        return self

    @property
    def account(self) -> str:
        """Who logs on, with the domain."""
        plain = self.domain and not set("\\@") & set(self.username)
        return f"{self.domain}\\{self.username}" if plain else self.username


def init_psexec_worker(parameters: Mapping[str, Any]) -> Worker:
    """A PsExec worker: logged on, its folder made, a program started, its session and its engine found.

    Raises:
        InputError: a parameter is unknown or wrong.
        OperatorError: the host, the account, its rights, session, folder or engine cannot be used; says which.
        WorkerError: the host is not to be reached.
    """
    spec = validated(PsExecSpec, parameters, "worker type psexec")
    transport = psexec_transport(spec)
    if spec.system_account:
        warnings.warn(
            f"worker {spec.worker_id} runs plans as SYSTEM: they can do everything on {spec.hostname}, and HEC-RAS's "
            "terms have to be accepted for SYSTEM too; better leave system_account out",
            stacklevel=2,
        )
    transport.prepare()
    return Worker("psexec", spec, _engine(spec, transport), transport)


def psexec_transport(spec: PsExecSpec) -> PsExecTransport:
    """The way to the host; nothing is done before the first call.

    Raises:
        OperatorError: the share is on another machine, the libraries are not installed, or the password cannot be had.
    """
    share, root = PureWindowsPath(spec.share_path), PureWindowsPath(spec.worker_folder)
    if share.drive[2:].partition("\\")[0].casefold() != spec.hostname.casefold():
        raise OperatorError(
            f"the share {spec.share_path} is on another machine than {spec.hostname}, which is to run the plans",
            step="init worker",
            host=spec.hostname,
            action="share a folder of the host itself, and name the host alike in hostname and share_path",
        )
    password = resolve_secret(spec.password) if spec.password else None
    return PsExecTransport(
        share,
        root,
        SmbLogin(spec.hostname, spec.account, password, spec.port),
        session=spec.session_id,
        user=spec.username or getpass.getuser(),
        owner=this_owner(),
        system_account=spec.system_account,
    )


def _engine(spec: PsExecSpec, transport: PsExecTransport) -> Engine:
    if spec.engine == "standin":
        return StandinEngine(System.WINDOWS, spec.standin_command)
    return find_remote_engine(spec.hostname, spec.ras_exe_path, spec.version, transport.names_in)
