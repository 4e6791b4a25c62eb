"""How to get into a Windows host over WinRM, and what it means when we do not get in."""

from __future__ import annotations

import hashlib
import socket
import ssl
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ras_runner.errors import OperatorError, RasRunnerError, TransientError, WorkerError

if TYPE_CHECKING:
    from pathlib import Path

    import requests
    from pydantic import SecretStr
    from winrm.protocol import Protocol

#: Seconds for one HTTP request, and for what the host does of it before it answers that it is still at it.
READ_SECONDS, OPERATION_SECONDS = 30, 10
#: Ways to log on -> module and pip package that they need besides pywinrm.
METHODS = {
    "ntlm": ("requests_ntlm", "pywinrm"),
    "kerberos": ("winkerberos" if sys.platform == "win32" else "kerberos", "pywinrm[kerberos]"),
    "credssp": ("requests_credssp", "pywinrm[credssp]"),
    "certificate": ("winrm", "pywinrm"),
}
_STEP = "connect"


@dataclass(frozen=True, slots=True)
class WinRmLogin:
    """Who logs on, and where.

    Attributes:
        host: name or address.
        port: of its HTTPS listener.
        method: one of ``METHODS``.
        username: ``user``, ``DOMAIN\\user`` or ``user@domain``; empty for certificates.
        password: in memory only.
        ca_path: certificates of those whom we trust to vouch for hosts; the usual ones when it is None.
        fingerprint: SHA-256 of the host's own certificate, 64 hexadecimal digits; it is then all that is checked.
        certificate, key: ours, as PEM files.
    """

    host: str
    port: int = 5986
    method: str = "ntlm"
    username: str = ""
    password: SecretStr | None = None
    ca_path: Path | None = None
    fingerprint: str = ""
    certificate: Path | None = None
    key: Path | None = None

    @property
    def name(self) -> str:
        """The host's name, for messages."""
        return self.host if self.port == 5986 else f"{self.host}:{self.port}"

    def protocol(self) -> Protocol:
        """A connection that is made by its first request. Never through a proxy of the environment."""
        from winrm.protocol import Protocol

        made = Protocol(
            endpoint=f"https://{self.host}:{self.port}/wsman",
            transport=self.method,  # type: ignore[arg-type]
            username=self.username,
            password=self.password.get_secret_value() if self.password else None,
            ca_trust_path=str(self.ca_path) if self.ca_path else None,  # type: ignore[arg-type]
            cert_pem=str(self.certificate) if self.certificate else None,
            cert_key_pem=str(self.key) if self.key else None,
            read_timeout_sec=READ_SECONDS,
            operation_timeout_sec=OPERATION_SECONDS,
            proxy=None,
        )
        session = made.transport.build_session()
        if self.fingerprint:
            session.verify = False
            session.mount("https://", pinned_adapter(self.fingerprint))
        return made

    def explain(self, error: Exception, step: str) -> RasRunnerError:
        """What an error of pywinrm or requests means."""
        import requests
        from winrm.exceptions import AuthenticationError, WinRMTransportError, WSManFaultError

        where = {"step": step, "host": self.name}
        for kind, meaning in (
            (AuthenticationError, self._refused),
            (requests.exceptions.SSLError, self._certificate),
            (requests.exceptions.RequestException, self._not_reached),
            (WSManFaultError, self._fault),
        ):
            if isinstance(error, kind):
                return meaning(error, step)
        if isinstance(error, WinRMTransportError) and error.code in (500, 502, 503, 504):
            return TransientError(
                f"the WinRM service is not ready (HTTP {error.code})", action="it is tried again", **where
            )
        code = f" (HTTP {error.code})" if isinstance(error, WinRMTransportError) else ""
        return OperatorError(
            f"it answers HTTPS on port {self.port}, but not as Windows Remote Management does{code}",
            action="check hostname and port; on a Windows host: winrm enumerate winrm/config/listener",
            **where,
        )

    def _refused(self, error: Exception, step: str) -> OperatorError:
        del error  # the answer to a wrong password and to a locked user is the same
        who = self.username or f"the certificate {self.certificate}"
        return OperatorError(
            f"{who} is refused: wrong or expired password, locked or disabled user, or {self.method} is switched off",
            step=step,
            host=self.name,
            action="it is not tried again, lest the user be locked out. Check username and password, and on the "
            "host: winrm get winrm/config/service/auth",
        )

    def _fault(self, error: Any, step: str) -> RasRunnerError:
        where = {"step": step, "host": self.name}
        if error.wsman_fault_code == 5:
            action = "make the user a member of Administrators or Remote Management Users there"
            return OperatorError(
                f"{self.username} may not run programs there (access is denied)", action=action, **where
            )
        if "InvalidResourceURI" in (error.fault_subcode or ""):
            action = "workers of this type are Windows hosts"
            return OperatorError("its WS-Management has no Windows shell: it is not Windows", action=action, **where)
        return TransientError(f"WinRM: {error.reason}", action="it is tried again", **where)

    def _not_reached(self, error: Exception, step: str) -> RasRunnerError:
        where = {"step": step, "host": self.name}
        text = str(error)
        if "NameResolutionError" in text or "Name or service not known" in text or "getaddrinfo" in text:
            return OperatorError("the name is not known", action="check hostname, or give an address", **where)
        if "Connection refused" in text or "NewConnectionError" in text or "ConnectTimeout" in text:
            return WorkerError(
                f"port {self.port} is not to be reached",
                action="is the host up, and its firewall open? On it: winrm quickconfig -transport:https",
                **where,
            )
        return TransientError("the connection was lost", action="it is made again by itself", **where)

    def _certificate(self, error: Exception, step: str) -> OperatorError:
        where = {"step": step, "host": self.name}
        if "WRONG_VERSION_NUMBER" in str(error):
            action = "give the port of its HTTPS listener, 5986 if nothing was changed"
            return OperatorError(f"port {self.port} does not talk HTTPS", action=action, **where)
        shown = shown_fingerprint(self.host, self.port)
        if self.fingerprint:
            cause = "the host's certificate is not the one that was pinned"
        else:
            cause = f"the host's certificate is not trusted: {_why(error)}"
        return OperatorError(
            f"{cause}; it shows one with SHA-256 {shown}" if shown else cause,
            action="give the certificate of its issuer (ca_path). Or, when the host itself, asked there, has this "
            "fingerprint, pin it (fingerprint). Else somebody may stand in between: do not log on",
            **where,
        )


def pinned_adapter(fingerprint: str) -> requests.adapters.HTTPAdapter:
    """Connections to a host with exactly this certificate, whoever has issued it."""
    import requests

    class Pinned(requests.adapters.HTTPAdapter):
        """urllib3 compares the fingerprint before anything is sent."""

        def init_poolmanager(self, *args: Any, **options: Any) -> None:
            super().init_poolmanager(*args, assert_fingerprint=fingerprint, **options)

    return Pinned()


def shown_fingerprint(host: str, port: int) -> str:
    """SHA-256 of the certificate that a host shows; empty when it shows none."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it is only shown to the user
    try:
        with socket.create_connection((host, port), timeout=5.0) as raw, context.wrap_socket(raw) as wrapped:
            shown = wrapped.getpeercert(binary_form=True)
    except OSError:
        return ""
    return hashlib.sha256(shown).hexdigest() if shown else ""


def _why(error: Exception) -> str:
    text = str(error)
    for sign, meaning in (
        ("expired", "it has expired"),
        ("Hostname mismatch", "it is made out to another name"),
        ("IP address mismatch", "it is made out to another address"),
        ("self-signed", "nobody we know has issued it"),
        ("self signed", "nobody we know has issued it"),
        ("unable to get local issuer", "nobody we know has issued it"),
    ):
        if sign in text:
            return meaning
    return text[-160:]


def require_winrm(method: str) -> None:
    """Raise OperatorError when a package that this way to log on needs is not installed."""
    if find_spec("winrm") is None:
        raise OperatorError(
            "WinRM workers need the package pywinrm", step="init worker", action="pip install ras-runner[winrm]"
        )
    module, package = METHODS[method]
    if find_spec(module) is None:
        raise OperatorError(
            f"logging on by {method} needs the package {module}", step="init worker", action=f'pip install "{package}"'
        )
