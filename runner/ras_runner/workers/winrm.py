"""The WinRM worker: plans run on a Windows host, on the desktop of the user who is logged on there."""

from __future__ import annotations

import uuid
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from ras_runner.errors import InputError, OperatorError
from ras_runner.secret import check_reference, resolve_secret
from ras_runner.transports.base import Upload
from ras_runner.transports.windows_files import PieceCarrier, WindowsFiles
from ras_runner.transports.windows_powershell import PowerShell
from ras_runner.transports.winrm_login import WinRmLogin, require_winrm
from ras_runner.transports.winrm_shell import WinRmShell
from ras_runner.validation import validated
from ras_runner.workers.base import Worker, WorkerId
from ras_runner.workers.windows import SharePath
from ras_runner.workers.windows_desktop import DesktopSpec, desktop_transport, prepare_host, windows_engine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ras_runner.transports.smb import SmbFiles
    from ras_runner.transports.windows import FileHalf

_STEP = "init worker"


def _fingerprint(text: str) -> str:
    digits = text.replace(":", "").replace(" ", "").lower()
    if digits and (len(digits) != 64 or not set(digits) <= set("0123456789abcdef")):
        raise ValueError("a SHA-256 fingerprint has 64 hexadecimal digits")
    return digits


class WinRmSpec(DesktopSpec):
    """Parameters of ``init_ras_worker("winrm", ...)`` besides those of :class:`DesktopSpec`.

    Attributes:
        port: of its HTTPS listener.
        auth: ``ntlm``, ``kerberos`` (a ticket of ``kinit``), ``credssp`` or ``certificate``.
        username: ``user``, ``DOMAIN\\user`` or ``user@domain``.
        password: reference to the password: ``env:NAME``, ``file:path``, ``keyring:service/user``.
        ca_path: PEM file of the certificates that vouch for the host; the usual ones when left out.
        fingerprint: SHA-256 of the host's own certificate, in place of all other checks of it.
        certificate_path, key_path: PEM files of ours, for ``certificate``.
        share_path: the worker folder as a share, ``\\\\host\\RasRemote``; files go through WinRM when left out.
        share_port: of the host's SMB service.
    """

    worker_id: WorkerId = "winrm"
    port: Annotated[int, Field(ge=1, le=65535)] = 5986
    auth: Literal["ntlm", "kerberos", "credssp", "certificate"] = "ntlm"
    username: Annotated[str, Field(pattern=r"^[^\x00-\x1f]*$")] = ""
    password: Annotated[str, AfterValidator(lambda text: text and check_reference(text))] = ""
    ca_path: Path | None = None
    fingerprint: Annotated[str, AfterValidator(_fingerprint)] = ""
    certificate_path: Path | None = None
    key_path: Path | None = None
    share_path: SharePath | None = None
    share_port: Annotated[int, Field(ge=1, le=65535)] = 445

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.auth in ("ntlm", "credssp") and not (self.username and self.password):
            raise ValueError(f"{self.auth} needs username and password")
        if self.auth == "certificate" and not (self.certificate_path and self.key_path):
            raise ValueError("certificate needs certificate_path and key_path")
        if self.auth == "certificate" and self.share_path:
            raise ValueError("a share needs username and password: leave share_path out, or log on by ntlm")
        return self


def init_winrm_worker(parameters: Mapping[str, Any]) -> Worker:
    """A WinRM worker: logged on, its folder made, its engine found.

    Raises:
        InputError: a parameter is unknown or wrong.
        OperatorError: the host, its certificate, our password, its folder or engine cannot be used; says which.
        WorkerError: the host is not to be reached.
    """
    spec = validated(WinRmSpec, parameters, "worker type winrm")
    require_winrm(spec.auth)
    powershell = winrm_powershell(spec)
    found = prepare_host(powershell, spec)
    engine = windows_engine(spec, found, powershell.host)
    return Worker("winrm", spec, engine, desktop_transport(powershell, _files(spec, powershell), spec, found))


def winrm_powershell(spec: WinRmSpec) -> PowerShell:
    """Our programs on the host; nothing is done before the first call.

    Raises:
        InputError: a file that a parameter names is not there.
        OperatorError: the password cannot be had.
    """
    return PowerShell(WinRmShell(_login(spec)), spec.worker_folder)


def _login(spec: WinRmSpec) -> WinRmLogin:
    return WinRmLogin(
        spec.hostname,
        spec.port,
        spec.auth,
        spec.username,
        resolve_secret(spec.password) if spec.password else None,
        ca_path=_existing(spec.ca_path, "ca_path"),
        fingerprint=spec.fingerprint,
        certificate=_existing(spec.certificate_path, "certificate_path"),
        key=_existing(spec.key_path, "key_path"),
    )


def _existing(path: Path | None, name: str) -> Path | None:
    if path is None:
        return None
    full = path.expanduser().absolute()
    if not full.is_file():
        raise InputError(f"{name}: there is no file {full}", step=_STEP, action="check the path")
    return full


def _files(spec: WinRmSpec, powershell: PowerShell) -> FileHalf:
    root = PureWindowsPath(spec.worker_folder)
    if not spec.share_path:
        return WindowsFiles(powershell, root, PieceCarrier(powershell))
    from ras_runner.transports.smb import SmbFiles
    from ras_runner.transports.smb_login import SmbLogin

    share = PureWindowsPath(spec.share_path)
    password = resolve_secret(spec.password) if spec.password else None
    files = SmbFiles(share, root, SmbLogin(share.drive.split("\\")[2], spec.username, password, spec.share_port))
    files.prepare()
    _check_same_place(files, powershell, spec)
    return files


def _check_same_place(files: SmbFiles, powershell: PowerShell, spec: WinRmSpec) -> None:
    """The share and the worker folder must be one place: what is written through one is seen through the other."""
    probe = PureWindowsPath(spec.worker_folder) / "w" / f"{uuid.uuid4().hex[:12]}.part"
    files.put([Upload(b"ras-runner", probe)])
    try:
        seen = powershell.call("stored", {"paths": [str(probe)]}, step=_STEP)["sizes"]
    finally:
        files.remove(probe)
    if [int(size) for size in seen] != [10]:
        raise OperatorError(
            f"{spec.share_path} and {spec.worker_folder} are not the same folder: what is written through the share "
            "is not seen there",
            step=_STEP,
            host=powershell.host,
            action=f"share {spec.worker_folder} itself, or give the folder that is shared (worker_folder)",
        )
