"""Containers of a Docker daemon, on files that another transport reaches.

A container is named after its attempt and labelled with it, so that any controller finds it again. What it said at its
end (exit code, out of memory) is kept in the attempt's folder, so that the container can go.
"""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ras_runner.errors import OperatorError, RasRunnerError, TransientError
from ras_runner.oscalls import ATTEMPT_VARIABLE
from ras_runner.retrying import retrying
from ras_runner.transports.base import Collected, Found, Probe, Status, Upload
from ras_runner.transports.docker_api import APIError, ImageNotFound, NotFound
from ras_runner.transports.on_files import OnFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path, PurePath
    from typing import TypeVar

    from ras_runner.transports.base import Transport
    from ras_runner.transports.docker_api import DockerDaemon

    Result = TypeVar("Result")

ATTEMPT_LABEL, CAMPAIGN_LABEL = "ras-runner.attempt", "ras-runner.campaign"
OWNER_LABEL, FOLDER_LABEL = "ras-runner.owner", "ras-runner.folder"
#: In the attempt's folder: the container's state when it had ended, as the daemon told it.
STATE_FILE = "container.json"
_ALIVE = ("running", "paused", "restarting")
_PIDS = 1024
#: Exit code of what SIGKILL has ended.
_KILLED = 137
#: The least memory that Docker accepts, bytes.
_LEAST_MEMORY = 6 << 20


@dataclass(frozen=True, slots=True)
class ContainerSettings:
    """What all containers of a worker have in common.

    Attributes:
        image: what they are made from; never pulled.
        user: ``uid:gid`` that they run as.
        owner: who they belong to, ``user@host``.
        cpus: processors of the daemon's machine.
        memory: bytes of the daemon's machine.
        cores_total: cores that plans may use.
        memory_per_plan: limit of a plan, bytes; 0 for its share by cores.
        how_to_build: the command that makes the image, for messages.
    """

    image: str
    user: str
    owner: str
    cpus: int
    memory: int
    cores_total: int
    memory_per_plan: int = 0
    how_to_build: str = ""

    def memory_limit(self, cores: int) -> int:
        """Bytes that a plan with so many cores may use: as large a part of the machine's as its part of the cores."""
        share = min(cores, self.cores_total) / self.cores_total
        return max(_LEAST_MEMORY, self.memory_per_plan or int(self.memory * share))


class DockerTransport(OnFiles):
    """Runs attempts in containers.

    Args:
        files: how the files of the daemon's machine are reached.
        daemon: runs the containers.
        settings: of the containers.
        give: gives an attempt's folder to the containers' user (True) or back (False); None when both are one.
    """

    def __init__(
        self,
        files: Transport,
        daemon: DockerDaemon,
        settings: ContainerSettings,
        give: Callable[[PurePath, bool], None] | None = None,
    ) -> None:
        super().__init__(files)
        self.client, self.settings = daemon.client, settings
        self._errors, self._give = daemon.errors, give

    @property
    def host(self) -> str:
        """The machine's name."""
        return self.files.host

    def collect(self, probe: Probe, folder: PurePath, patterns: Sequence[str], scratch: Path) -> Collected:
        """What the attempt has written; its container goes."""
        with contextlib.suppress(RasRunnerError):  # it goes with the workspace, then; the result does not wait for it
            self._remove_container(probe.attempt, force=False)
        self.files.claim(probe.folder)  # a container that ended before its script began has written nothing
        if self._give:
            self._give(probe.folder, False)
        return self.files.collect(probe, folder, patterns, scratch)

    def remove(self, path: PurePath) -> None:
        """Remove a file or a tree below the worker folder; if it is an attempt's folder, its container first."""
        state = self._inspect(path.name)
        if state is not None and state["Config"]["Labels"].get(FOLDER_LABEL) == str(path):
            self._remove_container(path.name, force=True)
        self.files.remove(path)

    def launch(self, attempt: str, folder: PurePath, script: str, *, cores: int = 1, campaign: str = "") -> str:
        """Start the run script in a container of its own; a second launch finds the first one's container.

        Returns:
            The container's id.

        Raises:
            OperatorError: the image is not there, or has no shell.
            WorkerError: the daemon refused, or does not answer.
        """
        if give := self._give:  # only before there is a container: what runs in it could swap folders for links
            _again(lambda: give(folder, True))
        return _again(lambda: self._launch(attempt, folder, script, cores, campaign))

    def _launch(self, attempt: str, folder: PurePath, script: str, cores: int, campaign: str) -> str:
        with self._errors("launch"):
            try:
                container = self._create(attempt, folder, script, cores, campaign)
            except ImageNotFound as error:
                raise missing_image(self.settings.image, self.host, "launch", self.settings.how_to_build) from error
            except APIError as error:
                if error.status_code != 409:  # the name is taken: launched before, and the answer was lost
                    raise
                container = str(self.client.inspect_container(container_name(attempt))["Id"])
            self._start(attempt, container)
        return container

    def poll(self, probes: Sequence[Probe]) -> dict[str, Status]:
        """Look at many attempts: one call to the daemon, and one for the files of all."""
        with self._errors("poll"):
            rows = self.client.containers(all=True, filters={"label": ATTEMPT_LABEL})
        states = {row["Labels"][ATTEMPT_LABEL]: str(row["State"]) for row in rows}
        # after the look at the containers: exit.json is the last act of what runs in them
        files = self.files.poll([replace(probe, native_id="", files_only=True) for probe in probes])
        return {p.attempt: self._status(p, states.get(p.attempt), files[p.attempt]) for p in probes}

    def attempts(self) -> list[Found]:
        """The folders of attempts, but for those of other owners' containers, and our containers."""
        with self._errors("sweep"):
            rows = self.client.containers(all=True, filters={"label": ATTEMPT_LABEL})
        ours, others = dict[str, Found](), set[str]()
        for row in rows:
            labels = row["Labels"]
            attempt = labels[ATTEMPT_LABEL]
            if labels.get(OWNER_LABEL) != self.settings.owner:
                others.add(attempt)
            elif labels.get(FOLDER_LABEL) == str(self.root / "w" / attempt):  # else of another worker folder
                ours[attempt] = Found(attempt, time.time() - row["Created"], True, row["State"] in _ALIVE)
        folders = {f.attempt: f for f in self.files.attempts() if f.attempt not in others}
        both = {name: replace(ours.get(name, folder), idle=folder.idle) for name, folder in folders.items()}
        return list({**ours, **both}.values())

    def stop(self, probe: Probe) -> None:
        """Kill the attempt's container, that is every process in it, and remove it."""
        self._remove_container(probe.attempt, force=True)

    def _create(self, attempt: str, folder: PurePath, script: str, cores: int, campaign: str) -> str:
        config = container_config(self.settings, attempt, folder, script, cores, campaign)
        host_config = self.client.create_host_config(**config.pop("host_config"))
        return str(self.client.create_container(host_config=host_config, **config)["Id"])

    def _start(self, attempt: str, container: str) -> None:
        """Start it; one that cannot be started is not left behind. Starting one that runs or ran does no harm."""
        try:
            self.client.start(container)
        except APIError as error:
            with contextlib.suppress(RasRunnerError):
                self._remove_container(attempt, force=True)
            if "/bin/sh" in str(error.explanation):
                raise OperatorError(
                    f"the image {self.settings.image} has no /bin/sh: {error.explanation}",
                    step="launch",
                    host=self.host,
                    action=f"build it with: {self.settings.how_to_build}",
                ) from error
            raise

    def _status(self, probe: Probe, state: str | None, files: Status) -> Status:
        if state in _ALIVE:
            return replace(files, alive=True, seconds=None)
        ended = self._keep_state(probe) if state else None
        ended = ended or self._kept_state(probe.folder)
        exit_code = files.exit_code
        if exit_code is None and ended and ended.get("OOMKilled"):
            exit_code = _KILLED  # the run script itself was killed: the plan's doing, not the machine's
        return Status(False, exit_code, _seconds(ended), files.tails, end_note(ended, exit_code))

    def _keep_state(self, probe: Probe) -> dict[str, Any] | None:
        """Keep what the daemon says of a container that has ended, and what it said before it had its streams."""
        found = self._inspect(probe.attempt)
        if found is None:
            return None
        state = {**found["State"], "MemoryLimit": found["HostConfig"]["Memory"]}
        with contextlib.suppress(RasRunnerError):  # it is only for the message
            self.files.put([Upload(json.dumps(state).encode(), probe.folder / STATE_FILE)])
            with self._errors("poll"):
                said = self.client.logs(found["Id"], tail=50)
            if said:
                self.files.put([Upload(said, probe.folder / "launch.log")])
        return state

    def _kept_state(self, folder: PurePath) -> dict[str, Any] | None:
        try:
            return dict(json.loads(self.files.read(folder / STATE_FILE) or b"null"))
        except (ValueError, TypeError):
            return None

    def _inspect(self, attempt: str) -> dict[str, Any] | None:
        """What the daemon knows of an attempt's container; None when there is none."""
        with self._errors("look"):
            try:
                return dict(self.client.inspect_container(container_name(attempt)))
            except NotFound:
                return None

    def _remove_container(self, attempt: str, *, force: bool) -> None:
        """Remove an attempt's container: with ``force`` whatever it does, else when it has ended."""
        with self._errors("stop" if force else "clean"):
            try:
                self.client.remove_container(container_name(attempt), v=True, force=force)
            except NotFound:
                pass
            except APIError as error:
                if "already in progress" not in str(error.explanation):
                    raise


def _again(call: Callable[[], Result]) -> Result:
    """Once more when the connection was lost: for what does no harm when done twice."""
    return retrying(call, TransientError, attempts=3, first=0.2, longest=3.0)


def container_name(attempt: str) -> str:
    """Name of an attempt's container."""
    return f"ras-runner-{attempt}"


def container_config(
    settings: ContainerSettings, attempt: str, folder: PurePath, script: str, cores: int, campaign: str
) -> dict[str, Any]:
    """Arguments for the SDK's ``create_container``; ``host_config`` is for ``create_host_config``."""
    from docker.types import LogConfig, Mount, Ulimit

    memory = settings.memory_limit(cores)
    return {
        "image": settings.image,
        "name": container_name(attempt),
        "entrypoint": ["/bin/sh", script],
        "working_dir": str(folder),
        "user": settings.user,
        "environment": {"HOME": "/tmp", ATTEMPT_VARIABLE: attempt},  # noqa: S108
        "labels": {
            ATTEMPT_LABEL: attempt,
            CAMPAIGN_LABEL: campaign,
            OWNER_LABEL: settings.owner,
            FOLDER_LABEL: str(folder),
        },
        "host_config": {
            "mounts": [Mount(str(folder), str(folder), type="bind")],
            "network_mode": "none",
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges"],
            "read_only": True,
            "tmpfs": {"/tmp": "rw,nosuid,nodev,mode=1777,size=256m"},  # noqa: S108  in the container
            "nano_cpus": min(cores, settings.cpus) * 1_000_000_000,
            "mem_limit": memory,
            "memswap_limit": memory,  # no swap: an engine that swaps does not end
            "pids_limit": _PIDS,
            "init": True,
            "ulimits": [Ulimit(name="stack", soft=-1, hard=-1)],
            "log_config": LogConfig(type="json-file", config={"max-size": "1m"}),
        },
    }


def end_note(state: Mapping[str, Any] | None, exit_code: int | None) -> str:
    """One sentence on how a container ended; empty when there is nothing to say.

    Args:
        state: the daemon's ``State`` of it, and its ``MemoryLimit`` in bytes; None when it has gone without a word.
        exit_code: of the run script, from exit.json.
    """
    if exit_code == 0:
        return ""
    if state is None:
        return "its container is gone (removed from outside)" if exit_code is None else ""
    if state.get("OOMKilled"):
        limit = state["MemoryLimit"] / (1 << 20)
        return (
            f"out of memory: a process was killed at the container's limit of {limit:.0f} MiB "
            "(give more with memory_per_plan, or run fewer plans at once)"
        )
    if exit_code is not None:
        return ""
    said = f": {state['Error']}" if state.get("Error") else ""
    return f"its container ended with exit code {state.get('ExitCode')}{said}"


def _seconds(state: Mapping[str, Any] | None) -> float | None:
    """How long a container ran; None when it never did."""
    try:
        ran = _time(state["FinishedAt"]) - _time(state["StartedAt"]) if state else None
    except (KeyError, ValueError):
        return None
    return max(0.0, ran.total_seconds()) if ran else None


def _time(text: str) -> datetime:
    """A time as Docker writes it: UTC with nanoseconds.

    >>> _time("2026-08-01T10:00:00.123456789Z").isoformat()
    '2026-08-01T10:00:00.123456+00:00'
    """
    return datetime.fromisoformat(text)


def missing_image(image: str, host: str, step: str, how_to_build: str) -> OperatorError:
    """The image is not there."""
    return OperatorError(
        f"there is no Docker image {image} (images are never pulled)",
        step=step,
        host=host,
        action=f"build it with: {how_to_build}",
    )
