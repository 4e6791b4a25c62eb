"""Makes machines workers: runs the playbooks of the collection ``ras.runner`` through ansible-runner, and listens.

What is kept of a run is its event log, ``<state folder>/setup/<time>/events.jsonl``: who, which task, what came of it.
ansible-runner's own artifacts hold the environment, and with it whatever secrets are there: they are removed.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ras_runner.errors import InputError, OperatorError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_STEP = "set up workers"
PLAYBOOK = "setup_worker"
_STATES = {
    "runner_on_ok": "ok",
    "runner_on_failed": "failed",
    "runner_on_unreachable": "unreachable",
    "runner_on_skipped": "skipped",
    "runner_on_start": "started",
}
#: The play whose last word on a host counts: it asserts that the host is a worker.
_CONCLUSION = "Workers file and summary"
#: The task whose failure another one explains.
_REACH = "Reach the machine"


@dataclass(frozen=True, slots=True)
class Step:
    """One task on one host.

    Attributes:
        at: when, ISO 8601.
        host: whose.
        play, role, task: which; role is empty outside roles.
        state: started, ok, failed, unreachable or skipped.
        changed: something was changed (in check mode: would be).
        message: what the task said of a failure.
    """

    at: str
    host: str
    play: str
    role: str
    task: str
    state: str
    changed: bool = False
    message: str = ""


@dataclass
class HostState:
    """How far a host is.

    Attributes:
        task: the task that it is at.
        changed: tasks that changed something.
        problem: why it is no worker; empty while nothing is wrong.
        ready: the last play found it to be a worker.
    """

    task: str = ""
    changed: int = 0
    problem: str = ""
    ready: bool = False


@dataclass
class SetupProgress:
    """All hosts of a run, told one step after the other.

    Attributes:
        hosts: by name.
        others: what ansible-playbook said that belongs to no host (a wrong inventory, a playbook that is not there).
    """

    hosts: dict[str, HostState] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)

    def hear(self, step: Step) -> None:
        """Take one step in."""
        host = self.hosts.setdefault(step.host, HostState())
        if step.state == "started":
            host.task = f"{step.role}: {step.task}" if step.role else step.task
        host.changed += step.changed
        if step.state in ("failed", "unreachable"):
            host.problem, host.ready = step.message, False
        elif step.state == "ok" and step.play == _CONCLUSION and not step.role:
            host.problem, host.ready = "", True


@dataclass(frozen=True, slots=True)
class SetupOrder:
    """What to run.

    Attributes:
        inventory: Ansible's; a file or a folder.
        limit: hosts or groups, as Ansible takes them; all when empty.
        check: change nothing, say what would be changed.
        tags: concerns, separated by commas; all when empty.
        playbook: which of the collection's.
    """

    inventory: Path
    limit: str = ""
    check: bool = False
    tags: str = ""
    playbook: str = PLAYBOOK

    @property
    def workers_file(self) -> Path:
        """The file that setup writes: beside the inventory."""
        folder = self.inventory if self.inventory.is_dir() else self.inventory.parent
        return folder.absolute() / "workers.json"


@dataclass(frozen=True, slots=True)
class SetupResult:
    """How a run ended.

    Attributes:
        progress: of all hosts.
        ok: Ansible found no fault.
        log: the event log.
    """

    progress: SetupProgress
    ok: bool
    log: Path


def run_setup(order: SetupOrder, state_dir: Path, on_step: Callable[[Step, SetupProgress], None]) -> SetupResult:
    """Run a playbook of the collection.

    Args:
        order: what to run.
        state_dir: where the event log goes.
        on_step: called for each step, after the progress has taken it in.

    Raises:
        InputError: the inventory is not there, or is no inventory.
        OperatorError: Ansible or the playbooks are not here, or Ansible does not run on this controller.
    """
    _check_controller()
    _check_inventory(order.inventory)
    playbook, settings = find_playbook(order.playbook)
    folder = _new_folder(state_dir)
    private = Path(tempfile.mkdtemp(prefix="runner-", dir=folder))
    progress, log = SetupProgress(), folder / "events.jsonl"
    try:
        with log.open("w", encoding="utf-8") as out:
            log.chmod(0o600)
            ok = _run(order, playbook, settings, private, _listener(progress, out.write, on_step, private))
    finally:
        shutil.rmtree(private, ignore_errors=True)
    return SetupResult(progress, ok, log)


def find_playbook(name: str) -> tuple[str, dict[str, str]]:
    """A playbook, and the settings it needs: of the checkout, else of the installed collection.

    Raises:
        OperatorError: neither is here.
    """
    for root in (Path.cwd(), Path(__file__).resolve().parents[3]):
        path = root / "playbooks" / f"{name}.yml"
        if path.is_file() and (root / "galaxy.yml").is_file():
            return str(path), {"ANSIBLE_CONFIG": str(root / "ansible.cfg"), "ANSIBLE_ROLES_PATH": str(root / "roles")}
    for root in _collection_folders():
        if (root / "ansible_collections" / "ras" / "runner" / "playbooks" / f"{name}.yml").is_file():
            return f"ras.runner.{name}", {}
    raise OperatorError(
        "the playbooks of ras-runner are not here",
        step=_STEP,
        action="run this in a checkout of ras-runner, or install the collection ras.runner: "
        "ansible-galaxy collection build in the checkout, then ansible-galaxy collection install ras-runner-*.tar.gz",
    )


def _collection_folders() -> list[Path]:
    given = os.environ.get("ANSIBLE_COLLECTIONS_PATH", "")
    places = [*given.split(":"), "~/.ansible/collections", "/usr/share/ansible/collections"]
    return [Path(place).expanduser() for place in (*places, *sys.path) if place]


def _check_controller() -> None:
    if sys.platform == "win32":
        raise OperatorError(
            "Ansible does not run on Windows controllers; it reaches Windows machines from Linux or macOS",
            step=_STEP,
            action="use WSL (wsl --install, then in its terminal: pip install 'ras-runner[ansible]' and ras-runner "
            "setup), or an execution environment (docker run -it -v %CD%:/lab -w /lab ras-runner-ee ansible-playbook "
            "-i inventory/lab.yml ras.runner.setup_worker); docs/fleet.md has both step by step",
        )
    if find_spec("ansible_runner") is None or find_spec("ansible") is None:
        raise OperatorError(
            "Ansible is not installed", step=_STEP, action="pip install 'ras-runner[ansible]', and run this again"
        )


def _check_inventory(path: Path) -> None:
    if not path.exists():
        raise InputError(
            f"there is no inventory {path}",
            step=_STEP,
            action="give an Ansible inventory with -i; docs/fleet.md has one to start with",
        )
    if path.name == "workers.json":
        raise InputError(
            f"{path} is what setup writes, not an inventory", step=_STEP, action="give the Ansible inventory with -i"
        )


def _new_folder(state_dir: Path) -> Path:
    parent = state_dir / "setup"
    parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=time.strftime("%Y%m%d-%H%M%S-"), dir=parent))


def _run(
    order: SetupOrder,
    playbook: str,
    settings: Mapping[str, str],
    private: Path,
    listen: Callable[[dict[str, Any]], bool],
) -> bool:
    import ansible_runner

    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    config = {} if "ANSIBLE_CONFIG" in os.environ or Path("ansible.cfg").is_file() else settings
    done = ansible_runner.run(
        private_data_dir=str(private),
        project_dir=str(Path.cwd()),
        playbook=playbook,
        inventory=str(order.inventory.absolute()),
        limit=order.limit or None,
        tags=order.tags or None,
        cmdline="--check" if order.check else None,
        extravars={"worker_report_file": str(order.workers_file)},
        envvars={**config, "PATH": path},
        event_handler=listen,
        fact_cache_type="memory",
        suppress_env_files=True,
        suppress_output_file=True,
        quiet=True,
    )
    if done.status == "canceled":
        raise KeyboardInterrupt
    return bool(done.rc == 0)


def _listener(
    progress: SetupProgress,
    write: Callable[[str], object],
    on_step: Callable[[Step, SetupProgress], None],
    private: Path,
) -> Callable[[dict[str, Any]], bool]:
    def listen(event: dict[str, Any]) -> bool:
        for command in private.glob("artifacts/*/command"):  # holds the environment
            command.unlink()
        step = read_event(event)
        if step is not None:
            write(json.dumps(asdict(step)) + "\n")
            progress.hear(step)
            on_step(step, progress)
        elif event.get("event") in ("verbose", "error") and event.get("stdout", "").strip():
            progress.others.append(event["stdout"].strip())
        return False  # ansible-runner is not to keep it

    return listen


def read_event(event: Mapping[str, Any]) -> Step | None:
    """What an event of ansible-runner says of a host; None when it says nothing, or of an ignored failure."""
    state, data = _STATES.get(event.get("event", "")), event.get("event_data") or {}
    if state is None or not data.get("host") or data.get("ignore_errors"):
        return None
    result = data.get("res") or {}
    if state == "unreachable" and data.get("task") == _REACH:
        state = "ok"  # it is not given up yet: the next task says why, and what to do
    return Step(
        at=str(event.get("created", "")),
        host=data["host"],
        play=data.get("play", ""),
        role=data.get("role", ""),
        task=data.get("task", "").rpartition(" : ")[2],
        state=state,
        changed=bool(result.get("changed")) and state == "ok",
        message=_message(result) if state in ("failed", "unreachable") else "",
    )


def _message(result: Mapping[str, Any]) -> str:
    failed = [item for item in result.get("results") or () if item.get("failed")]
    said = (failed[0] if failed else result).get("msg") or result.get("censored") or "no reason was given"
    return " ".join(said.split()) if isinstance(said, str) else "; ".join(map(str, said))
