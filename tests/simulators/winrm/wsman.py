"""Windows Remote Management over HTTPS, as far as shells that run commands go: MS-WSMV 3.1.4, 3.1.5.

Takes Basic, NTLM and Negotiate (NTLM in it) logins and client certificates. What a command does is told by ``execute``.
"""

from __future__ import annotations

import base64
import re
import ssl
import threading
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import spnego

SOAP = "http://www.w3.org/2003/05/soap-envelope"
ADDRESSING = "http://schemas.xmlsoap.org/ws/2004/08/addressing"
TRANSFER = "http://schemas.xmlsoap.org/ws/2004/09/transfer"
WSMAN = "http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd"
SHELL = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell"
FAULT = "http://schemas.microsoft.com/wbem/wsman/1/wsmanfault"
MUTUAL = "http://schemas.dmtf.org/wbem/wsman/1/wsman/secprofile/https/mutual"
TIMED_OUT, ACCESS_DENIED, NO_SHELL, BAD_RESOURCE = 2150858793, 5, 2150858843, 2150858811


@dataclass(frozen=True)
class Answer:
    """How a command ended."""

    code: int
    stdout: bytes = b""
    stderr: bytes = b""


#: (command line, stdin, who) -> how it ended.
Execute = Callable[[str, bytes, str], Answer]


class FaultError(Exception):
    """A WSMan fault: code, subcode of the SOAP fault, text."""

    def __init__(self, code: int, subcode: str, text: str) -> None:
        super().__init__(text)
        self.code, self.subcode = code, subcode


@dataclass
class Command:
    """A command in a shell: runs when its stdin has ended."""

    line: str
    stdin: bytearray = field(default_factory=bytearray)
    answer: Answer | None = None
    ended: threading.Event = field(default_factory=threading.Event)


@dataclass
class WsmanServer:
    """A listener on a loopback port.

    Args:
        certificate: PEM file with certificate and key.
        execute: runs commands.
        accounts: user -> password.
        client_ca: issuer of client certificates.
    """

    certificate: Path
    execute: Execute
    accounts: dict[str, str]
    client_ca: Path
    #: ``denied``, ``not windows``: how logins and shells fail.
    faults: set[str] = field(default_factory=set)
    logins: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    shells: dict[str, dict[str, Command]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate)
        context.load_verify_locations(self.client_ca)
        context.verify_mode = ssl.CERT_OPTIONAL
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        server.wsman = self  # type: ignore[attr-defined]
        self._server = server
        self.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        """Close the listener."""
        self._server.shutdown()
        self._server.server_close()

    def answer(self, root: ET.Element, user: str) -> str:
        """The body of the answer to a request of somebody who is logged on."""
        action = _text(root, "Action").rsplit("/", 1)[-1]
        resource = _text(root, "ResourceURI")
        if "not windows" in self.faults or not resource.endswith("/shell/cmd"):
            raise FaultError(BAD_RESOURCE, "w:InvalidResourceURI", f"no such resource: {resource}")
        if "denied" in self.faults:
            raise FaultError(ACCESS_DENIED, "w:AccessDenied", "Access is denied.")
        if action == "Create":
            return self._create(resource)
        selector = next((e.text or "" for e in root.iter() if e.get("Name") == "ShellId"), "")
        if selector not in self.shells:
            raise FaultError(NO_SHELL, "w:InvalidSelectors", f"there is no shell {selector}")
        if action == "Delete":
            del self.shells[selector]
            return ""
        commands = self.shells[selector]
        if action == "Command":
            return self._command(root, commands, user)
        wanted = next(e.get("CommandId", "") for e in root.iter() if e.get("CommandId"))
        return {"Send": self._send, "Receive": self._receive, "Signal": lambda *_: "<r:SignalResponse/>"}[action](
            root, wanted, commands[wanted], user
        )

    def _create(self, resource: str) -> str:
        name = str(uuid.uuid4()).upper()
        self.shells[name] = {}
        return (
            f"<x:ResourceCreated><a:Address>https://localhost/wsman</a:Address><a:ReferenceParameters>"
            f"<w:ResourceURI>{resource}</w:ResourceURI><w:SelectorSet><w:Selector Name='ShellId'>{name}</w:Selector>"
            f"</w:SelectorSet></a:ReferenceParameters></x:ResourceCreated><r:Shell><r:ShellId>{name}</r:ShellId></r:Shell>"
        )

    def _command(self, root: ET.Element, commands: dict[str, Command], user: str) -> str:
        words = [_text(root, "Command"), *(e.text or "" for e in root.iter(f"{{{SHELL}}}Arguments"))]
        name = str(uuid.uuid4()).upper()
        commands[name] = Command(" ".join(word for word in words if word))
        if any(e.get("Name") == "WINRS_CONSOLEMODE_STDIN" and e.text == "TRUE" for e in root.iter()):
            self._start(commands[name], user)  # nothing is going to be sent
        return f"<r:CommandResponse><r:CommandId>{name}</r:CommandId></r:CommandResponse>"

    def _send(self, root: ET.Element, name: str, command: Command, user: str) -> str:
        del name
        for stream in root.iter(f"{{{SHELL}}}Stream"):
            command.stdin += base64.b64decode(stream.text or "")
            if stream.get("End", "").lower() == "true":
                self._start(command, user)
        return "<r:SendResponse/>"

    def _start(self, command: Command, user: str) -> None:
        threading.Thread(target=self._run, args=(command, user), daemon=True).start()

    def _run(self, command: Command, user: str) -> None:
        try:
            command.answer = self.execute(command.line, bytes(command.stdin), user)
        except Exception as error:
            command.answer = Answer(1, b"", f"the simulator failed: {error!r}".encode())
            raise
        finally:
            command.ended.set()

    @staticmethod
    def _receive(root: ET.Element, name: str, command: Command, user: str) -> str:
        del user
        patience = re.fullmatch(r"PT([\d.]+)S", _text(root, "OperationTimeout"))
        if not command.ended.wait(float(patience[1]) if patience else 20.0):
            raise FaultError(TIMED_OUT, "w:TimedOut", "the operation has timed out")
        done = command.answer
        assert done is not None
        parts = [
            f"<r:Stream Name='{stream}' CommandId='{name}'>{base64.b64encode(data).decode()}</r:Stream>"
            f"<r:Stream Name='{stream}' CommandId='{name}' End='true'/>"
            for stream, data in (("stdout", done.stdout), ("stderr", done.stderr))
        ]
        state = (
            f"<r:CommandState CommandId='{name}' State='{SHELL}/CommandState/Done'><r:ExitCode>{done.code}</r:ExitCode>"
        )
        return f"<r:ReceiveResponse>{''.join(parts)}{state}</r:CommandState></r:ReceiveResponse>"


class Handler(BaseHTTPRequestHandler):
    """One connection: NTLM logs on a connection, not a request."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    timeout = 60.0

    def setup(self) -> None:
        """A new connection: nobody is logged on."""
        super().setup()
        self.user = ""
        self.login: Any = None

    @property
    def wsman(self) -> WsmanServer:
        """The listener it belongs to."""
        return self.server.wsman  # type: ignore[attr-defined]

    def log_message(self, *args: object) -> None:
        """Nothing is printed."""

    def do_POST(self) -> None:
        """One request."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            headers = self._authenticate()
        except (spnego.exceptions.SpnegoError, KeyError, ValueError) as error:
            self.wsman.refused.append(type(error).__name__)
            self.login = None
            headers = None
        if headers is None:
            return
        root = ET.fromstring(body)
        action, relates = _text(root, "Action"), _text(root, "MessageID")
        try:
            self._reply(200, _envelope(f"{action}Response", relates, self.wsman.answer(root, self.user)), headers)
        except FaultError as fault:
            self._reply(500, _envelope(f"{WSMAN}/fault", relates, _fault(fault)), headers)

    def _authenticate(self) -> list[tuple[str, str]] | None:
        """The headers of the answer when somebody is logged on; None when it was answered here."""
        kind, _, token = self.headers.get("Authorization", "").partition(" ")
        if not kind and self.user:
            return []
        if kind == MUTUAL:
            shown = self.connection.getpeercert()  # type: ignore[attr-defined]
            if shown:
                return self._let_in(dict(item[0] for item in shown["subject"])["commonName"], [])
        elif kind == "Basic":
            user, _, password = base64.b64decode(token).decode().partition(":")
            if self.wsman.accounts.get(user) == password:
                return self._let_in(user, [])
            self.wsman.refused.append(user)
        elif kind in ("NTLM", "Negotiate"):
            return self._step(kind, base64.b64decode(token))
        self._reply(401, "", [("WWW-Authenticate", way) for way in ("Negotiate", "NTLM", 'Basic realm="WSMAN"')])
        return None

    def _step(self, kind: str, token: bytes) -> list[tuple[str, str]] | None:
        if self.login is None:
            self.login = spnego.server(protocol=kind.lower(), options=spnego.NegotiateOptions.use_ntlm)
        try:
            out = self.login.step(token)
        except spnego.exceptions.SpnegoError:
            self._reply(401, "", [("WWW-Authenticate", way) for way in ("Negotiate", "NTLM")])
            raise
        said = [("WWW-Authenticate", f"{kind} {base64.b64encode(out).decode()}")] if out else []
        if not self.login.complete:
            self._reply(401, "", said)
            return None
        user, self.login = str(self.login.client_principal), None
        return self._let_in(user.rpartition("\\")[2], said)

    def _let_in(self, user: str, headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
        self.user = user
        self.wsman.logins.append(user)
        return headers

    def _reply(self, code: int, text: str, headers: list[tuple[str, str]]) -> None:
        data = text.encode()
        self.send_response(code)
        for name, value in (*headers, ("Content-Type", "application/soap+xml;charset=UTF-8")):
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _text(root: ET.Element, tag: str) -> str:
    return next((element.text or "" for element in root.iter() if element.tag.endswith(f"}}{tag}")), "")


def _envelope(action: str, relates: str, body: str) -> str:
    return (
        f"<s:Envelope xmlns:s='{SOAP}' xmlns:a='{ADDRESSING}' xmlns:x='{TRANSFER}' xmlns:w='{WSMAN}' xmlns:r='{SHELL}' "
        f"xmlns:f='{FAULT}'><s:Header><a:Action>{action}</a:Action><a:MessageID>uuid:{uuid.uuid4()}</a:MessageID>"
        f"<a:RelatesTo>{relates}</a:RelatesTo></s:Header><s:Body>{body}</s:Body></s:Envelope>"
    )


def _fault(fault: FaultError) -> str:
    text = escape(str(fault))
    return (
        f"<s:Fault><s:Code><s:Value>s:Receiver</s:Value><s:Subcode><s:Value>{fault.subcode}</s:Value></s:Subcode></s:Code>"
        f"<s:Reason><s:Text xml:lang='en-US'>{text}</s:Text></s:Reason><s:Detail><f:WSManFault Code='{fault.code}' "
        f"Machine='simulated'><f:Message>{text}</f:Message></f:WSManFault></s:Detail></s:Fault>"
    )
