"""The service control manager of a simulated Windows host (MS-SCMR over the pipe svcctl)."""

from __future__ import annotations

import hashlib
import itertools
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pypsexec
from impacket.dcerpc.v5 import scmr
from impacket.dcerpc.v5.rpcrt import DCERPCServer
from tests.simulators.windows_host.pipes import Pipe, PipeServer
from tests.simulators.windows_host.state import HostState, Service

if TYPE_CHECKING:
    from collections.abc import Callable

_INTERFACE = ("367ABB81-9844-35F1-AD32-98F038001003", "2.0")
_STOPPED, _RUNNING, _OWN_PROCESS = 1, 4, 16
_NO_HANDLE = bytes(20)
_PAEXEC = hashlib.sha256(Path(pypsexec.__file__).with_name("paexec.exe").read_bytes()).digest()


class ServiceManager:
    """Answers svcctl.

    Args:
        state: of the host.
        pipes: folder of smbd's pipe sockets.
        windows: the folder that ADMIN$ is.
        serve: what a PAExec service does with an open of its pipe.
    """

    def __init__(self, state: HostState, pipes: Path, windows: Path, serve: Callable[[Pipe], None]) -> None:
        self._state, self._pipes, self._windows, self._serve = state, pipes, windows, serve
        self._numbers = itertools.count(1)
        self._handles: dict[bytes, str] = {}
        self._pipe = PipeServer(pipes, "svcctl", self._answer)

    def stop(self) -> None:
        """End it and its services."""
        self._pipe.stop()
        for service in self._state.services.values():
            if service.pipe is not None:
                service.pipe.stop()

    def _answer(self, pipe: Pipe) -> None:
        server = DCERPCServer(client_socket=pipe)
        admin = any(account.encode() in pipe.opened_by for account in self._state.admins)
        calls: dict[int, Callable[[bytes], Any]] = {
            0: self._close,
            1: self._control,
            2: self._delete,
            6: self._status,
            12: self._create,
            14: self._list,
            15: lambda _: self._open_manager(admin),
            16: self._open_service,
            19: self._start,
        }
        server.addCallbacks(_INTERFACE, "\\PIPE\\svcctl", calls)
        while (data := server.recv()) is not None:
            if (answer := server.processRequest(data)) is not None:
                server.send(answer)

    def _handle(self, name: str) -> bytes:
        handle = struct.pack("<IQQ", 0, next(self._numbers), 0x5CA1AB1E)
        self._handles[handle] = name
        return handle

    def _service(self, data: bytes) -> Service | None:
        return self._state.services.get(self._handles.get(data[:20], ""))

    def _close(self, data: bytes) -> Any:
        self._handles.pop(data[:20], None)
        answer = scmr.RCloseServiceHandleResponse()
        answer["hSCObject"], answer["ErrorCode"] = _NO_HANDLE, 0
        return answer

    def _open_manager(self, admin: bool) -> Any:
        answer = scmr.ROpenSCManagerWResponse()
        code = self._state.fault("OpenSCManagerW") if admin else 5
        answer["lpScHandle"], answer["ErrorCode"] = _NO_HANDLE if code else self._handle(""), code
        return answer

    def _open_service(self, data: bytes) -> Any:
        name = scmr.ROpenServiceW(data)["lpServiceName"].rstrip("\0")
        known = name in self._state.services
        answer = scmr.ROpenServiceWResponse()
        answer["lpServiceHandle"] = self._handle(name) if known else _NO_HANDLE
        answer["ErrorCode"] = 0 if known else 1060
        return answer

    def _create(self, data: bytes) -> bytes:
        # pypsexec's request is not quite valid NDR, which Windows takes all the same: read by hand
        name, after = _text(data, 20)
        _, after = _text(data, after + 4)
        path, _ = _text(data, after + 16)
        with self._state.lock:
            code = 1073 if name in self._state.services else self._state.fault("CreateServiceW")
            if not code:
                self._state.services[name] = Service(path)
        handle = _NO_HANDLE if code else self._handle(name)
        return struct.pack("<I", 0) + handle + struct.pack("<I", code)

    def _start(self, data: bytes) -> Any:
        answer = scmr.RStartServiceWResponse()
        with self._state.lock:
            answer["ErrorCode"] = self._start_code(self._service(data))
        return answer

    def _start_code(self, service: Service | None) -> int:
        if service is None:
            return 1072
        if service.running:
            return 1056
        if code := self._state.fault("StartServiceW"):
            return code
        name = service.path.split('"')[1].rpartition("\\")[2]
        file = self._windows / name
        if not file.is_file():
            return 2
        if hashlib.sha256(file.read_bytes()).digest() != _PAEXEC:
            return 193
        service.running, service.pipe = True, PipeServer(self._pipes, name, self._serve)
        return 0

    def _control(self, data: bytes) -> Any:
        service = self._service(data)
        answer = scmr.RControlServiceResponse()
        answer["ErrorCode"] = 1072 if service is None else 0 if service.running else 1062
        if service is not None and service.pipe is not None:
            service.pipe.stop()
            service.pipe, service.running = None, False
        return _with_status(answer, service)

    def _status(self, data: bytes) -> Any:
        answer = scmr.RQueryServiceStatusResponse()
        service = self._service(data)
        answer["ErrorCode"] = 0 if service else 1072
        return _with_status(answer, service)

    def _delete(self, data: bytes) -> Any:
        answer = scmr.RDeleteServiceResponse()
        answer["ErrorCode"] = self._state.fault("DeleteService")
        if not answer["ErrorCode"]:
            self._state.services.pop(self._handles.get(data[:20], ""), None)
        return answer

    def _list(self, data: bytes) -> bytes:
        """EnumServicesStatusW: a blob of records and names, its size, their number, where to resume, the code."""
        size = struct.unpack_from("<I", data, 28)[0]
        services = sorted(self._state.services.items())
        records, names = b"", b""
        for name, service in services:
            place, text = 36 * len(services) + len(names), name.encode("utf-16-le") + b"\0\0"
            numbers = (_OWN_PROCESS, _RUNNING if service.running else _STOPPED, 1, 0, 0, 0, 0)
            records, names = records + struct.pack("<II7I", place, place, *numbers), names + text
        blob = records + names + bytes(-len(records + names) % 4)
        if size < len(blob):
            return struct.pack("<I", 0) + struct.pack("<IIII", len(blob), 0, 0, 234)
        return struct.pack("<I", size) + blob.ljust(size, b"\0") + struct.pack("<IIII", 0, len(services), 0, 0)


def _with_status(answer: Any, service: Service | None) -> Any:
    running = service is not None and service.running
    for name, value in (
        ("dwServiceType", _OWN_PROCESS),
        ("dwCurrentState", _RUNNING if running else _STOPPED),
        ("dwControlsAccepted", 1),
    ):
        answer["lpServiceStatus"][name] = value
    return answer


def _text(data: bytes, place: int) -> tuple[str, int]:
    """A wide string of NDR at a place, and where the next value begins."""
    count = struct.unpack_from("<I", data, place)[0]
    end = place + 12 + count * 2
    return data[place + 12 : end - 2].decode("utf-16-le"), end + (-end % 4)
