"""A cloud in a folder: groups whose machines are local workers. What it has is in a file, so that it outlives programs.

It does as it is told, and what a test tells it: it is short of machines, takes one away, lets one never get ready,
knows nobody's credentials. What it hides: that a real one is slow, and right only after a while.
"""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from ras_runner import oscalls
from ras_runner.engines.registry import local_engine
from ras_runner.errors import OperatorError, TransientError, WorkerError
from ras_runner.oscalls import FileLock
from ras_runner.transports.local import LocalTransport
from ras_runner.validation import validated
from ras_runner.workers.base import Worker, WorkerSpec
from ras_runner.workers.group import GroupSpec, GroupView, Machine, MachineState
from ras_runner.workers.registry import WorkerType

TYPES = {
    "cloud": WorkerType("tests.elastic.cloud", "CloudGroup", spec="CloudSpec"),
    "machine": WorkerType("tests.elastic.cloud", "init_machine", spec="MachineSpec"),
}
_NEW: dict[str, Any] = {
    "wanted": 0,
    "on_demand": 0,
    "made": 0,
    "capacity": 1000,
    "duds": 0,
    "error": "",
    "protected": [],
    "calls": [],
    "machines": {},
}
_ERRORS = {
    "credentials": OperatorError("the credentials have expired", step="look", action="log on again"),
    "throttled": TransientError("too many requests", step="look"),
}


class CloudSpec(GroupSpec):
    """Parameters of the group: where the cloud is; what is left out of the others is found there."""

    cloud: Path
    zones: int = 0
    look_seconds: float = 0.05


class MachineSpec(WorkerSpec):
    """Parameters of a machine: the cloud that it is in, and its name there."""

    cloud: Path
    machine: str


class Cloud:
    """What the test, and what the groups do with the file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / "cloud.json"
        if not self._file.exists():
            folder.mkdir(parents=True, exist_ok=True)
            self._file.write_text(json.dumps(_NEW), encoding="utf-8")

    @contextlib.contextmanager
    def state(self) -> Iterator[dict[str, Any]]:
        """What there is, to be changed."""
        with FileLock(self.folder / "lock").held():
            state = json.loads(self._file.read_text(encoding="utf-8"))
            yield state
            new = self._file.with_name(f"{uuid.uuid4().hex}.json")  # a controller may be killed at any moment
            new.write_text(json.dumps(state), encoding="utf-8")
            new.replace(self._file)

    def set(self, **values: object) -> None:
        """Change what it does from now on."""
        with self.state() as state:
            state.update(values)

    def get(self, name: str) -> Any:
        """A value of it."""
        with self.state() as state:
            return state[name]

    def machine_folder(self, machine: str) -> Path:
        """The worker folder of a machine."""
        return self.folder / "machines" / machine

    def engines(self, machine: str) -> list[psutil.Process]:
        """The processes of attempts on a machine."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                here = str(self.machine_folder(machine)) in process.cwd()
                found += [process] if here and process.environ().get(oscalls.ATTEMPT_VARIABLE) else []
        return found

    def hold(self, machine: str, *, on: bool) -> None:
        """What computes on a machine stands still, or goes on."""
        for process in self.engines(machine):
            with contextlib.suppress(psutil.Error):
                (process.suspend if on else process.resume)()

    def cut(self, machine: str) -> None:
        """The machine is off: its processes end, and it cannot be reached. The cloud has not noticed."""
        self._end(machine, off=True)

    def take(self, machine: str) -> None:
        """The cloud takes a machine away."""
        self._end(machine, off=True, state=MachineState.GONE)

    def _end(self, machine: str, **now: object) -> None:
        with self.state() as state:
            state["machines"][machine].update(now)
        for process in self.engines(machine):
            with contextlib.suppress(psutil.Error):
                process.kill()

    def stop(self) -> None:
        """End what a test left running."""
        for machine in self.get("machines"):
            self.cut(machine)


class CloudGroup:
    """A group in the cloud, as campaigns see it."""

    type = "cloud"

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        spec = validated(CloudSpec, parameters, "worker type cloud")
        self.spec = spec.model_copy(update={"zones": spec.zones or 3})
        self.engine = local_engine(self.spec.engine)
        self._cloud = Cloud(self.spec.cloud)

    @property
    def hostname(self) -> str:
        return f"group {self.spec.cloud.name} in tests"

    def look(self) -> GroupView:
        with self._called("look") as state:
            alive = [m for m in state["machines"].values() if m["state"] == MachineState.RUNNING]
            while len(alive) < min(state["wanted"], state["capacity"]):
                state["made"] += 1
                steady = sum(not m["spot"] for m in alive) < state["on_demand"]
                off = state["made"] <= state["duds"]
                new = {"state": MachineState.RUNNING, "since": time.time(), "spot": not steady, "off": off}
                state["machines"][f"m{state['made']}"] = new
                alive.append(new)
            short = "the zone is out of machines" if state["wanted"] > state["capacity"] else ""
            rows = state["machines"].items()
            machines = (
                Machine(name, MachineState(m["state"]), "here", m["since"], spot=m["spot"], notice=m.get("notice", ""))
                for name, m in rows
            )
            return GroupView(tuple(machines), state["wanted"], short)

    def resize(self, machines: int, on_demand: int) -> None:
        with self._called("resize", machines, on_demand) as state:
            state["wanted"], state["on_demand"] = machines, on_demand

    def protect(self, machines: Collection[str], *, on: bool) -> None:
        with self._called("protect", sorted(machines), on) as state:
            kept = set(state["protected"])
            state["protected"] = sorted(kept | set(machines) if on else kept - set(machines))

    def end(self, machine: str, *, replace: bool) -> None:
        with self._called("end", machine, replace) as state:
            assert not self._cloud.engines(machine), "what runs plans was ended"
            state["machines"][machine].update(state=MachineState.GONE, off=True)
            state["wanted"] -= not replace

    def member(self, machine: Machine) -> tuple[str, dict[str, Any]]:
        parameters = {"cloud": self.spec.cloud, "machine": machine.id, "engine": self.spec.engine}
        return "machine", {**parameters, "cores_total": self.spec.cores_total}

    @contextlib.contextmanager
    def _called(self, *call: object) -> Iterator[dict[str, Any]]:
        with self._cloud.state() as state:
            if state["error"]:
                raise _ERRORS[state["error"]]
            state["calls"].append(call)
            yield state


class _Remote(LocalTransport):
    """This machine, which cannot be reached once it is off."""

    def __init__(self, cloud: Cloud, machine: str) -> None:
        super().__init__(cloud.machine_folder(machine))
        self._of = (cloud, machine)

    def __getattribute__(self, name: str) -> Any:
        if name in ("stored", "put", "place", "read", "collect", "claim", "launch", "poll", "stop", "remove", "trim"):
            check_on(*self._of)
        return super().__getattribute__(name)


def check_on(cloud: Cloud, machine: str) -> None:
    """Raise WorkerError when a machine is off."""
    with cloud.state() as state:
        if state["machines"][machine]["off"]:
            raise WorkerError("no route to host", step="connect", host=machine)


def init_machine(parameters: Mapping[str, Any]) -> Worker:
    """A machine of the cloud as a worker."""
    spec = validated(MachineSpec, parameters, "worker type machine")
    cloud = Cloud(spec.cloud)
    check_on(cloud, spec.machine)
    cloud.machine_folder(spec.machine).mkdir(parents=True, exist_ok=True)
    return Worker("machine", spec, local_engine(spec.engine), _Remote(cloud, spec.machine))
