"""How to get into an SSH host: its key, ours, the hosts on the way; and what it means when we do not get in."""

from __future__ import annotations

import contextlib
import re
import socket
import stat
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ras_runner.errors import InputError, OperatorError, RasRunnerError, WorkerError
from ras_runner.packages import required
from ras_runner.secret import resolve_secret

if TYPE_CHECKING:
    from types import ModuleType

    import asyncssh

#: A host that has not let us in after so many seconds is not there.
CONNECT_SECONDS = 15.0
#: Keep-alive: a silent cut is noticed after about 15 s.
_KEEPALIVE_SECONDS, _KEEPALIVE_COUNT = 5, 3
_STEP = "connect"
_HOP = re.compile(r"(?:(?P<user>[^@\s]+)@)?(?P<host>\[[0-9A-Fa-f:.]+\]|[^@:\s\[\]]+)(?::(?P<port>\d{1,5}))?")
#: AES-GCM first: twice as fast as what asyncssh would take.
_CIPHERS = "aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com,aes256-ctr,aes128-ctr"


def asyncssh_module() -> ModuleType:
    """The library, or OperatorError with the command that installs it."""
    return required("asyncssh", "SSH workers", "ssh")


@dataclass(frozen=True, slots=True)
class Hop:
    """One SSH server on the way."""

    user: str
    host: str
    port: int

    @property
    def known_name(self) -> str:
        """Its name in a known_hosts file."""
        return self.host if self.port == 22 else f"[{self.host}]:{self.port}"

    def __str__(self) -> str:
        return f"{self.user}@{self.host}" + (f":{self.port}" if self.port != 22 else "")


def parse_hop(text: str, user: str) -> Hop:
    """``user@host:port``, user and port may be left out; an IPv6 address stands in brackets.

    Raises:
        ValueError: it is not that.
    """
    match = _HOP.fullmatch(text.strip())
    port = int(match["port"] or 22) if match else 0
    if not match or not 0 < port < 65536:
        raise ValueError(f"{text!r} is not user@host:port")
    return Hop(match["user"] or user, match["host"].strip("[]"), port)


@dataclass(frozen=True)
class Login:
    """The way to one host.

    Attributes:
        hops: the servers on the way, the host itself last.
        known_hosts: file of the host keys that were accepted.
        key_path: our private key; the agent and the usual keys in ``~/.ssh`` when it is None.
        passphrase: reference to the key's passphrase; empty when it has none.
    """

    hops: tuple[Hop, ...]
    known_hosts: Path
    key_path: Path | None = None
    passphrase: str = ""
    #: Host keys that servers have shown, by hop.
    _shown: dict[Hop, asyncssh.SSHKey] = field(default_factory=dict, compare=False, repr=False)

    @property
    def host(self) -> str:
        """The host's name, for messages."""
        last = self.hops[-1]
        return last.host if last.port == 22 else f"{last.host}:{last.port}"

    def options(self, hop: Hop) -> asyncssh.SSHClientConnectionOptions:
        """What asyncssh is told for one hop. Nothing comes from the user's ssh configuration.

        Raises:
            OperatorError: the key or the known_hosts file cannot be used.
        """
        library = asyncssh_module()
        shown = self._shown

        class Client(library.SSHClient):  # type: ignore[misc, name-defined]
            """Remembers the key of a host that is not known."""

            def validate_host_public_key(self, host: str, addr: str, port: int, key: Any) -> bool:
                del host, addr, port
                shown[hop] = key
                return False

        arguments: dict[str, Any] = {} if self.key_path is None else {"client_keys": [self._key()], "agent_path": None}
        made: asyncssh.SSHClientConnectionOptions = library.SSHClientConnectionOptions(
            client_factory=Client,
            config=None,
            username=hop.user,
            known_hosts=library.import_known_hosts(self._known()),
            encryption_algs=_CIPHERS,
            preferred_auth="publickey",
            keepalive_interval=_KEEPALIVE_SECONDS,
            keepalive_count_max=_KEEPALIVE_COUNT,
            **arguments,
        )
        return made

    def _known(self) -> str:
        try:
            return self.known_hosts.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise OperatorError(
                f"the file of known hosts {self.known_hosts} cannot be read: {error.strerror}",
                step=_STEP,
                host=self.host,
                action="check its rights, or give another with known_hosts",
            ) from None

    def _key(self) -> asyncssh.SSHKey:
        """Our private key, refused as ssh refuses it when others can read it."""
        library, path = asyncssh_module(), self.key_path
        if path is None:
            raise ValueError("there is no key file")
        try:
            if path.is_dir():
                raise self._key_error("is a folder", "give the file of the private key in it as ssh_key_path")
            if sys.platform != "win32" and stat.S_IMODE(path.stat().st_mode) & 0o077:
                raise self._key_error(
                    "can be read by others, so it is not used", f"if it is your key: chmod 600 {path}"
                )
            secret = resolve_secret(self.passphrase).get_secret_value() if self.passphrase else None
            key: asyncssh.SSHKey = library.read_private_key(path, secret)
        except OSError as error:
            raise self._key_error(f"cannot be read: {error.strerror}", "check ssh_key_path") from None
        except library.KeyEncryptionError as error:
            if "bcrypt" in str(error):
                raise self._key_error("is encrypted, which needs bcrypt", "pip install ras-runner[ssh]") from None
            raise self._key_error("is not opened by its passphrase", "correct what passphrase refers to") from None
        except library.KeyImportError as error:
            if "passphrase" in str(error).lower():
                raise self._key_error("needs a passphrase", "give passphrase=env:NAME or the like") from None
            raise self._key_error(f"is not a private key: {error}", "check ssh_key_path") from None
        return key

    def _key_error(self, cause: str, action: str) -> OperatorError:
        return OperatorError(f"the key file {self.key_path} {cause}", step="read key", host=self.host, action=action)

    def explain(self, error: Exception, hop: Hop) -> RasRunnerError:
        """Why a connection to a hop was not made, for people."""
        library = asyncssh_module()
        if isinstance(error, RasRunnerError):
            return error
        if isinstance(error, library.HostKeyNotVerifiable):
            return self._host_key_error(hop, str(error))
        if isinstance(error, library.PermissionDenied):
            ours = f"the key {self.key_path}" if self.key_path else "the keys of the agent and of ~/.ssh"
            cause = f"{hop.user} is not let in with {ours}"
            action = f"check username and ssh_key_path; the public key must be in ~{hop.user}/.ssh/authorized_keys"
            return OperatorError(cause, step="log on", host=self._at(hop), action=action)
        cause, action = _cause(error, hop)
        return WorkerError(cause, step=_STEP, host=self._at(hop), action=action)

    def _at(self, hop: Hop) -> str:
        return self.host if hop == self.hops[-1] else f"{self.host} by way of {hop.host}:{hop.port}"

    def _host_key_error(self, hop: Hop, said: str) -> OperatorError:
        key = self._shown.get(hop)
        if key is None:
            return OperatorError(f"the host key is refused: {said}", step="check host key", host=self._at(hop))
        kind, fingerprint = key.get_algorithm(), key.get_fingerprint()
        known = asyncssh_module().import_known_hosts(self._known()).match(hop.host, "", hop.port)[0]
        if known:
            old = ", ".join(other.get_fingerprint() for other in known)
            return OperatorError(
                f"THE HOST KEY HAS CHANGED: known is {old}, shown is {fingerprint} ({kind}). "
                "Somebody may be listening in; nothing was sent",
                step="check host key",
                host=self._at(hop),
                action="ask who runs the host whether it was set up anew. Only if so: "
                f'ssh-keygen -f "{self.known_hosts}" -R "{hop.known_name}", then accept the new key',
            )
        port = "" if hop.port == 22 else f"-p {hop.port} "
        return OperatorError(
            f"the host key is not known: {fingerprint} ({kind})",
            step="check host key",
            host=self._at(hop),
            action="compare the fingerprint with the host's own first (there: ssh-keygen -lf "
            "/etc/ssh/ssh_host_ed25519_key.pub); if they are the same: "
            f'ssh-keyscan {port}{hop.host} >> "{self.known_hosts}"',
        )


def _cause(error: Exception, hop: Hop) -> tuple[str, str]:
    """Cause and next action of a failure of the network or of the server."""
    if isinstance(error, socket.gaierror):
        return f"the name {hop.host} does not resolve: {error.strerror}", "check hostname and the network"
    if isinstance(error, TimeoutError):
        return (
            f"nothing useful came from port {hop.port} within {CONNECT_SECONDS:.0f} s",
            "check that an SSH server answers there (it may be hung, or a firewall may drop packets)",
        )
    if isinstance(error, ConnectionRefusedError):
        return f"port {hop.port} refuses connections", "start the SSH server there, or check port"
    said = str(error)
    with contextlib.suppress(AttributeError):
        said = said or str(error.strerror)  # type: ignore[attr-defined]
    return f"no connection to port {hop.port}: {said or type(error).__name__}", "check that an SSH server answers there"


def login(
    host: Hop, proxy_jump: str, *, known_hosts: Path, key_path: Path | None = None, passphrase: str = ""
) -> Login:
    """A login from a worker's parameters.

    Raises:
        InputError: ``proxy_jump`` is not ``user@host:port`` (several: after commas).
    """
    try:
        jumps = [parse_hop(hop, host.user) for hop in proxy_jump.split(",")] if proxy_jump else []
    except ValueError as error:
        raise InputError(
            f"proxy_jump: {error}",
            step="check parameters",
            action="give user@host:port (user and port may be left out), several with commas between them",
        ) from None
    return Login((*jumps, host), known_hosts, key_path, passphrase)
