"""Azure's management API as far as a flexible scale set needs it, and a store of blobs: HTTPS on loopback.

It is strict: a request that Azure would not take (no token, no api-version, unknown fields, unknown paths) is noted in
``problems``, and fails the test. Operations go on until :meth:`Arm.finish`: nothing happens by itself. When the
capacity is lowered below what there is, it takes the oldest machines, protected or not: Azure promises no better.
"""

from __future__ import annotations

import contextlib
import json
import re
import ssl
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from tests.simulators.winrm.certificates import Issuer

SUBSCRIPTION = "11111111-2222-3333-4444-555555555555"
GROUP, TOKEN, LOCATION = "burst-1", "token-0001", "westeurope"
TAGS = {"ras-runner-managed-by": "ras-runner", "ras-runner-launch-token": TOKEN}
BASE = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers"
SET = f"{BASE}/Microsoft.Compute/virtualMachineScaleSets/{GROUP}"
#: Machines of a page of an answer.
PAGE = 2


@dataclass
class Refusal:
    """What a kind of call is answered instead: ``times`` of them, an operation's end if ``late``."""

    call: str
    status: int
    code: str
    message: str = "Azure says no."
    times: int = 1
    late: bool = False
    details: list[dict[str, str]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        return {"error": {"code": self.code, "message": self.message, "details": self.details}}


@dataclass
class Operation:
    """Something that takes Azure its time."""

    work: Callable[[], None]
    refusal: Refusal | None = None
    status: str = "InProgress"


class Arm:
    """A subscription with one resource group."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.capacity, self.base, self.percentage = 0, 0, 0
        self.set: dict[str, Any] = {
            "id": SET,
            "name": GROUP,
            "location": LOCATION,
            "tags": dict(TAGS),
            "sku": {"name": "Mix"},
            "properties": {
                "orchestrationMode": "Flexible",
                "provisioningState": "Succeeded",
                "virtualMachineProfile": {"priority": "Spot", "evictionPolicy": "Delete"},
                "skuProfile": {"vmSizes": [{"name": "Standard_F8s_v2"}, {"name": "Standard_D4s_v5"}]},
            },
        }
        self.machines: dict[str, dict[str, Any]] = {}
        self.protected: set[str] = set()
        self.blobs: dict[str, bytes] = {}
        self.operations: dict[str, Operation] = {}
        self.refusals: list[Refusal] = []
        self.calls: list[str] = []
        self.bodies: list[Any] = []
        self.problems: list[str] = []
        self.lock = threading.RLock()
        self._made = 0

    # -- what a test does

    def make(self, name: str = "", *, spot: bool = True, power: str = "running", of: str = SET) -> str:
        """A machine with a private and a public address; returns its name."""
        self._made += 1
        name = name or f"{GROUP}_{self._made:08x}"
        nic = f"{BASE}/Microsoft.Network/networkInterfaces/{name}-nic"
        self.machines[name] = {
            "id": f"{BASE}/Microsoft.Compute/virtualMachines/{name}",
            "name": name,
            "location": LOCATION,
            "zones": ["2"],
            "properties": {
                "provisioningState": "Creating" if power == "starting" else "Succeeded",
                "hardwareProfile": {"vmSize": "Standard_F8s_v2"},
                "priority": "Spot" if spot else "Regular",
                "virtualMachineScaleSet": {"id": of.upper()},  # Azure spells ids as it likes
                "networkProfile": {"networkInterfaces": [{"id": nic.replace("Microsoft", "microsoft")}]},
                "timeCreated": f"2026-11-22T19:{self._made:02d}:00.5Z",
            },
            "_power": power,
            "_number": self._made,
        }
        if of == SET:
            self.capacity = max(self.capacity, len(self.of_set()))
        return name

    def of_set(self) -> list[dict[str, Any]]:
        """The machines of the scale set."""
        sets = ((m, m["properties"]["virtualMachineScaleSet"]["id"]) for m in self.machines.values())
        return [machine for machine, owner in sets if owner.lower() == SET.lower()]

    def names(self) -> list[str]:
        """Of the machines of the scale set that are not being deleted."""
        return [m["name"] for m in self.of_set() if m["properties"]["provisioningState"] != "Deleting"]

    def refuse(self, call: str, status: int, code: str, message: str = "Azure says no.", **more: Any) -> None:
        """Answer calls (``GET virtualMachineScaleSets``: method and kind of thing) with an error."""
        self.refusals.append(Refusal(call, status, code, message, **more))

    def finish(self) -> None:
        """Everything that was begun gets done."""
        with self.lock:
            for operation in self.operations.values():
                if operation.status == "InProgress" and operation.refusal:
                    operation.status = "Failed"
                elif operation.status == "InProgress":
                    operation.work()
                    operation.status = "Succeeded"

    def count(self, call: str) -> int:
        """How often a call was made."""
        return self.calls.count(call)

    # -- what Azure does

    def answer(self, method: str, target: str, body: Any, headers: Any) -> tuple[int, Any, dict[str, str]]:
        path, query = urlsplit(target).path, {k: v[0] for k, v in parse_qs(urlsplit(target).query).items()}
        if path.startswith("/hosts/"):
            return self._blob(method, path, headers)
        kind, name = self._kind(path)
        call = f"{method} {kind}"
        if kind != "operations":
            self.calls.append(call)
        if headers.get("Authorization") != "Bearer a-token":
            self.problems.append(f"{call}: no token")
        if not re.fullmatch(r"20\d\d-\d\d-\d\d", query.get("api-version", "")):
            self.problems.append(f"{call}: no api-version")
        late = None
        for refusal in self.refusals:
            if refusal.call == call and refusal.times > 0:
                refusal.times -= 1
                if not refusal.late:
                    return refusal.status, refusal.body(), refusal.headers
                late = refusal
        handler = getattr(self, "_" + re.sub(r"\W", "_", call).lower(), None)
        if handler is None:
            self.problems.append(f"unknown: {method} {target}")
            return 404, {"error": {"code": "NoSuchThingInThisFake", "message": target}}, {}
        if body is not None:
            self.bodies.append(body)
        return handler(name, query, body, late)

    def _kind(self, path: str) -> tuple[str, str]:
        place = path.lower().removeprefix(BASE.lower() + "/").split("/")
        if place[:2] == ["microsoft.compute", "virtualmachinescalesets"] and len(place) == 5:
            return "instances", place[4]
        if place[0] in ("microsoft.compute", "microsoft.network"):
            return path.split("/")[len(BASE.split("/")) + 1] + ("" if len(place) == 3 else "/list"), place[-1]
        if match := re.fullmatch(
            rf"/subscriptions/{SUBSCRIPTION}/providers/Microsoft\.Compute/(skus|operations/.+)", path
        ):
            return match[1].partition("/")[0], match[1].rpartition("/")[2]
        return path, ""

    def _begun(self, work: Callable[[], None], late: Refusal | None, status: int, body: Any) -> Any:
        name = uuid.uuid4().hex
        self.operations[name] = Operation(work, late)
        address = f"{self.url}/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Compute/operations/{name}"
        headers = {"Azure-AsyncOperation": f"{address}?api-version=2024-07-01"}
        return status, body, headers | {"Location": f"{address}?api-version=2024-07-01"}

    def _get_operations(self, name: str, query: Any, body: Any, late: Any) -> Any:
        operation = self.operations[name]
        error = operation.refusal.body() if operation.status == "Failed" and operation.refusal else {}
        return 200, {"status": operation.status, **error}, {}

    def _shown(self) -> dict[str, Any]:
        mix = {"baseRegularPriorityCount": self.base, "regularPriorityPercentageAboveBase": self.percentage}
        shown = json.loads(json.dumps(self.set))
        shown["sku"] = {**self.set["sku"], "capacity": self.capacity}
        if self.set["properties"]["virtualMachineProfile"]["priority"] == "Spot":
            shown["properties"]["priorityMixPolicy"] = mix
        return shown

    def _get_virtualmachinescalesets(self, name: str, query: Any, body: Any, late: Any) -> Any:
        if name != GROUP.lower():
            return 404, {"error": {"code": "ResourceNotFound", "message": f"no scale set {name}"}}, {}
        return 200, self._shown(), {}

    def _patch_virtualmachinescalesets(self, name: str, query: Any, body: Any, late: Refusal | None) -> Any:
        mix = body.get("properties", {}).get("priorityMixPolicy", {})
        if (
            set(body) - {"sku", "properties"}
            or set(body["sku"]) - {"name", "tier", "capacity"}
            or set(body.get("properties", {})) - {"priorityMixPolicy"}
            or set(mix) - {"baseRegularPriorityCount"}
            or not all(type(n) is int for n in (body["sku"]["capacity"], *mix.values()))
        ):
            self.problems.append(f"not a VirtualMachineScaleSetUpdate: {body}")
        self.capacity = body["sku"]["capacity"]
        self.base = mix.get("baseRegularPriorityCount", self.base)
        return self._begun(self._fill, late, 200, self._shown())

    def _fill(self) -> None:
        for machine in self.of_set()[: max(0, len(self.of_set()) - self.capacity)]:
            del self.machines[machine["name"]]
        while len(self.of_set()) < self.capacity:
            steady = sum(m["properties"]["priority"] == "Regular" for m in self.of_set())
            self.make(spot=steady >= self.base, power="starting")

    def _get_instances(self, name: str, query: Any, body: Any, late: Any) -> Any:
        if name not in self.machines:
            return 404, {"error": {"code": "ResourceNotFound", "message": name}}, {}
        policy = {"protectionPolicy": {"protectFromScaleIn": True}} if name in self.protected else {}
        return 200, {"id": f"{SET}/virtualMachines/{name}", "location": LOCATION, "properties": policy}, {}

    def _put_instances(self, name: str, query: Any, body: Any, late: Any) -> Any:
        if name not in self.machines:
            return 404, {"error": {"code": "ResourceNotFound", "message": name}}, {}
        policy = body.get("properties", {}).get("protectionPolicy", {})
        if set(policy) != {"protectFromScaleIn"} or body.get("location") != LOCATION:
            self.problems.append(f"not a protection of a machine: {name} {body}")
        (self.protected.add if policy.get("protectFromScaleIn") else self.protected.discard)(name)
        return self._begun(lambda: None, None, 200, body)

    def _page(self, things: list[Any], kind: str, query: dict[str, str]) -> Any:
        start = int(query.get("$skiptoken", "0"))
        page: dict[str, Any] = {"value": things[start : start + PAGE]}
        if start + PAGE < len(things):
            rest = "&".join(f"{k}={quote(v)}" for k, v in query.items() if k != "$skiptoken")
            page["nextLink"] = f"{self.url}{BASE}/{kind}?{rest}&$skiptoken={start + PAGE}"
        return 200, page, {}

    def _get_virtualmachines_list(self, name: str, query: Any, body: Any, late: Any) -> Any:
        if query.get("$filter") != f"'virtualMachineScaleSet/id' eq '{SET}'" or query.get("$expand") != "instanceView":
            self.problems.append(f"a list of machines with {query}")
        return self._page([self._machine(m) for m in self.of_set()], "Microsoft.Compute/virtualMachines", query)

    def _get_virtualmachines(self, name: str, query: Any, body: Any, late: Any) -> Any:
        if name not in self.machines:
            return 404, {"error": {"code": "ResourceNotFound", "message": name}}, {}
        return 200, self._machine(self.machines[name]), {}

    def _machine(self, machine: dict[str, Any]) -> dict[str, Any]:
        shown = {k: v for k, v in machine.items() if not k.startswith("_")}
        codes = machine.get("_codes", [f"PowerState/{machine['_power']}"])
        view = {"statuses": [{"code": "ProvisioningState/succeeded"}, *({"code": code} for code in codes)]}
        return shown | {"properties": shown["properties"] | {"instanceView": view}}

    def _delete_virtualmachines(self, name: str, query: Any, body: Any, late: Refusal | None) -> Any:
        machine = self.machines[name]
        machine["properties"]["provisioningState"] = "Deleting"

        def gone() -> None:
            self.capacity -= self.machines.pop(name, None) is not None

        return self._begun(gone, late, 202, None)

    def _get_networkinterfaces_list(self, name: str, query: Any, body: Any, late: Any) -> Any:
        found = [
            {
                "id": f"{BASE}/Microsoft.Network/networkInterfaces/{m['name']}-nic",
                "properties": {
                    "ipConfigurations": [
                        {
                            "name": "worker",
                            "properties": {
                                "privateIPAddress": f"10.0.0.{m['_number']}",
                                "publicIPAddress": {"id": f"{BASE}/Microsoft.Network/publicIPAddresses/{m['name']}-ip"},
                            },
                        }
                    ]
                },
            }
            for m in self.machines.values()
        ]
        return self._page(found, "Microsoft.Network/networkInterfaces", query)

    def _get_publicipaddresses_list(self, name: str, query: Any, body: Any, late: Any) -> Any:
        found = [
            {
                "id": f"{BASE}/Microsoft.Network/publicIPAddresses/{m['name']}-ip",
                "properties": {"ipAddress": f"203.0.113.{m['_number']}"},
            }
            for m in self.machines.values()
        ]
        return self._page(found, "Microsoft.Network/publicIPAddresses", query)

    def _get_skus(self, name: str, query: Any, body: Any, late: Any) -> Any:
        if query.get("$filter") != f"location eq '{LOCATION}'":
            self.problems.append(f"sizes with {query}")
        sizes = (("Standard_F8s_v2", "8"), ("Standard_D4s_v5", "4"), ("Standard_B1s", "1"))
        found = [
            {"resourceType": "virtualMachines", "name": size, "capabilities": [{"name": "vCPUs", "value": cores}]}
            for size, cores in sizes
        ]
        return 200, {"value": [*found, {"resourceType": "disks", "name": "Standard_D4s_v5"}]}, {}

    def _blob(self, method: str, path: str, headers: Any) -> Any:
        self.calls.append(f"{method} blob")
        if headers.get("Authorization") != "Bearer a-token" or not headers.get("x-ms-version"):
            self.problems.append(f"{path}: no token or x-ms-version")
        for refusal in self.refusals:
            if refusal.call == "GET blob" and refusal.times > 0:
                refusal.times -= 1
                return refusal.status, b"", {"x-ms-error-code": refusal.code}
        if path not in self.blobs:
            return 404, b"", {"x-ms-error-code": "BlobNotFound"}
        content = self.blobs[path]
        end = int(re.fullmatch(r"bytes=0-(\d+)", headers["x-ms-range"])[1])
        size = {"Content-Range": f"bytes 0-{min(end, len(content) - 1)}/{len(content)}", "ETag": '"1"'}
        return 206, content[: end + 1], size | {"x-ms-blob-type": "BlockBlob", "Last-Modified": _NOW}


_NOW = "Sun, 22 Nov 2026 19:00:00 GMT"


@contextlib.contextmanager
def running_arm(folder: Path) -> Iterator[tuple[str, Path, Callable[[], Arm]]]:
    """The server, who vouches for it, and what gives it a new subscription."""
    current: list[Arm] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # an answer is one packet, or each waits for the other side's delayed acknowledgement

        def log_message(self, *args: object) -> None:
            """Say nothing."""

        def _go(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            with current[-1].lock:
                status, answer, headers = current[-1].answer(self.command, self.path, body, self.headers)
            content = answer if isinstance(answer, bytes) else b"" if answer is None else json.dumps(answer).encode()
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_PATCH = do_POST = do_DELETE = _go  # noqa: N815

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    issuer = Issuer(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issuer.issue("localhost"))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"https://127.0.0.1:{server.server_address[1]}"

    def fresh() -> Arm:
        current.append(Arm(url))
        return current[-1]

    try:
        yield url, issuer.path, fresh
    finally:
        server.shutdown()
        server.server_close()
