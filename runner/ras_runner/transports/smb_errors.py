"""What a Windows host answers over SMB, in words: NT status codes and the library's errors as typed errors."""

from __future__ import annotations

import errno
import socket

from ras_runner.errors import DiskFullError, OperatorError, RasRunnerError, TransientError, WorkerError

NOT_FOUND = frozenset({0xC0000034, 0xC000003A, 0xC000000F, 0xC0000225})
COLLISION = 0xC0000035
SHARING_VIOLATION, DELETE_PENDING, ACCESS_DENIED, NOT_EMPTY = 0xC0000043, 0xC0000056, 0xC0000022, 0xC0000101
#: What a file system without hard links says, and one whose file has all the links it can have (NTFS: 1024).
NO_LINKS = frozenset({0xC0000010, 0xC00000BB, 0xC000000D, 0xC0000265, 0xC00000D4, 0xC0000002, 0xC0000003})
_FULL = frozenset({0xC000007F, 0xC0000044, 0xC0000802})
_LOST = frozenset({0xC00000C9, 0xC0000203, 0xC00000B5, 0xC000020C, 0xC0000128, 0xC000035C, 0xC0000466})

#: NT status of a refused logon -> cause, what to do. Never tried twice: some domains lock an account after a few.
_LOGON = {
    0xC000006D: ("the user name or password is wrong", "correct username, domain or password"),
    0xC000006A: ("the password is wrong", "correct the password"),
    0xC0000064: ("there is no such user", "correct username or domain"),
    0xC0000071: ("the password has expired", "log on there once and change it"),
    0xC0000224: ("the password has to be changed before the first logon", "log on there once and change it"),
    0xC0000072: ("the account is disabled", "ask the administrator to enable it"),
    0xC0000193: ("the account has expired", "ask the administrator to renew it"),
    0xC0000234: ("the account is locked out", "wait, or ask the administrator to unlock it"),
    0xC000006E: (
        "the account may not log on from the network (an empty password, logon hours or another restriction)",
        "give the account a password, or ask the administrator",
    ),
    0xC000006F: ("the account may not log on at this hour", "ask the administrator"),
    0xC0000070: ("the account may not log on from this machine", "ask the administrator"),
    0xC000015B: (
        "the account lacks the right to log on from the network (SeNetworkLogonRight)",
        "grant 'Access this computer from the network' there: Ansible role ras.runner.user_rights",
    ),
    0xC000005E: ("the host reaches no domain controller", "check the domain's network"),
    0xC0000133: ("the clocks of this machine and the host differ too much for Kerberos", "set both clocks"),
    0xC0000022: ("the host refuses the logon", "check that the account may log on from the network"),
}


class SmbStatusError(Exception):
    """An NT status that the caller may know what to do with.

    Attributes:
        status: the NT status.
        path: what it was about.
    """

    def __init__(self, status: int, path: str) -> None:
        self.status, self.path = status, path
        super().__init__(f"{path}: {status_text(status)}")


class LogonError(OperatorError):
    """The host refuses the logon: a second try may lock the account."""


class AgainError(TransientError):
    """Worth another try at once."""


class LostConnectionError(AgainError):
    """The connection is gone; the next call makes a new one."""


def status_text(status: int) -> str:
    """An NT status in words."""
    from smbprotocol.header import NtStatus

    known = next((name for name, value in vars(NtStatus).items() if value == status), "")
    return f"{known} (0x{status:08X})" if known else f"NT status 0x{status:08X}"


def connect_error(host: str, port: int, step: str, error: BaseException) -> RasRunnerError:
    """Why a host cannot be connected to, before anybody has logged on."""
    reason = error.__cause__ if isinstance(error.__cause__, OSError) else error
    if isinstance(reason, socket.gaierror):
        return OperatorError(
            f"the name {host} does not resolve", step=step, host=host, action="correct hostname, or add it to DNS"
        )
    if isinstance(reason, ConnectionRefusedError):
        return WorkerError(
            f"nothing answers on port {port} (SMB)",
            step=step,
            host=host,
            action="switch file sharing on there and open port 445 in its firewall",
        )
    if isinstance(reason, OSError) and (
        isinstance(reason, TimeoutError) or reason.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT)
    ):
        return WorkerError(
            f"network path not found: port {port} (SMB) does not answer",
            step=step,
            host=host,
            action="check that the host is on, and that its firewall lets this machine reach port 445",
        )
    return WorkerError(
        f"what answers on port {port} does not speak SMB 2 or later: {error}",
        step=step,
        host=host,
        action="check hostname; it has to be a Windows host with file sharing",
    )


def logon_error(host: str, step: str, user: str, error: BaseException) -> LogonError:
    """Why a host refuses a logon."""
    status = getattr(error, "status", None)
    who = f"user {user}" if user else "this machine's own identity"
    if status is not None:
        cause, action = _LOGON.get(status, (status_text(status), "check the account there"))
        return LogonError(f"logon of {who} refused: {cause}", step=step, host=host, action=action)
    if "guest" in str(error):
        cause = f"the host takes {who} for a guest: it does not know the account"
        return LogonError(cause, step=step, host=host, action="correct username, domain or password")
    action = "check the account, and Kerberos or NTLM on both sides" if user else "give username and password"
    return LogonError(f"logon of {who} failed: {error}", step=step, host=host, action=action)


def lost_error(host: str, step: str, error: BaseException) -> LostConnectionError:
    """A connection that ended in the middle of a call."""
    said = str(error) or type(error).__name__
    return LostConnectionError(f"the connection was lost: {said}", step=step, host=host, action="it is made again")


def is_lost(status: int) -> bool:
    """Whether a status says that the session or the network is gone."""
    return status in _LOST


def status_error(host: str, step: str, root: str, error: SmbStatusError) -> RasRunnerError:
    """A status that nobody knew what to do with."""
    status = error.status
    if status in _FULL:
        return DiskFullError(root, step=step, host=host)
    if status == 0xC00000CC:
        return OperatorError(
            f"there is no share {error.path}", step=step, host=host, action="correct share_path, or share the folder"
        )
    if status in (ACCESS_DENIED, 0xC00000A2):
        return OperatorError(
            f"access to {error.path} is denied",
            step=step,
            host=host,
            action="give the account the right to change files, on the share and in the folder's security settings",
        )
    if status in (SHARING_VIOLATION, DELETE_PENDING, NOT_EMPTY):
        return AgainError(
            f"a program has {error.path} or a file in it open",
            step=step,
            host=host,
            action="close the program; it is tried again when the campaign is resumed",
        )
    if status in NOT_FOUND:
        return WorkerError(f"{error.path} is not there", step=step, host=host, action=f"check that {root} exists")
    return WorkerError(str(error), step=step, host=host, action=f"check that {root} exists and can be written")
