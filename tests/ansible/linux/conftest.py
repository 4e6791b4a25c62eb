"""Fixtures ``machine``, ``this_machine`` and ``lab``. Tests in this folder carry the marker ``ansible``."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.ansible.linux.machine import REPO, Machine, MachineUnavailable, running_machine
from tests.commands import Runner
from tests.docker.daemon import base_tarball
from tests.services import mark_folder, not_here

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder."""
    mark_folder(items, HERE, pytest.mark.ansible)


@pytest.fixture(scope="session")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a fresh Debian; not to be written to."""
    tarball = base_tarball()
    if not tarball.is_file():
        not_here("no base image: run tests/install-services.sh docker")
    folder = tmp_path_factory.mktemp("debian")
    subprocess.run(["tar", "-C", folder, "-xf", tarball], check=True)
    return folder


def copy_of_this_machine(folder: Path) -> contextlib.AbstractContextManager[Machine]:
    """One more throw-away copy of the machine that the tests run on."""
    return _machine(folder, Path("/"))


@contextlib.contextmanager
def _machine(folder: Path, lower: Path) -> Iterator[Machine]:
    with contextlib.ExitStack() as stack:
        try:
            made = stack.enter_context(running_machine(folder, lower))
        except MachineUnavailable as reason:
            not_here(reason)
        yield made


@pytest.fixture
def machine(tmp_path: Path, debian: Path) -> Iterator[Machine]:
    """A fresh Debian with an sshd and Python."""
    with _machine(tmp_path / "machine", debian) as made:
        yield made


@pytest.fixture
def this_machine(tmp_path: Path) -> Iterator[Machine]:
    """A throw-away copy of the machine that the tests run on."""
    with copy_of_this_machine(tmp_path / "copy") as made:
        yield made


@dataclass
class Lab(Runner):
    """``ras-runner`` and ansible-playbook with an Ansible inventory of their own.

    Attributes:
        groups: group -> host -> variables.
    """

    groups: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.inventory = self.folder / "lab" / "lab.yml"
        self.inventory.parent.mkdir()
        self.workers_file = self.inventory.with_name("workers.json")

    def add(self, group: str, host: str, machine: Machine | None = None, **variables: Any) -> None:
        """A host of a group; without a machine, the controller itself."""
        if machine is None:
            own: dict[str, Any] = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        else:
            own = {**machine.variables, "ras_cores_per_plan": 1}
        if machine is not None and group == "ssh_workers":
            own["ras_ssh_key_path"] = str(machine.folder / "key")
            own["ras_known_hosts"] = str(machine.folder / "known_hosts")
        self.groups.setdefault(group, {})[host] = {**own, **variables}
        data = {name: {"hosts": hosts} for name, hosts in self.groups.items()}
        self.inventory.write_text(json.dumps(data), encoding="utf-8")

    def play(self, playbook: str, *args: object, code: int | None = 0) -> str:
        """ansible-playbook from the root of the checkout, as the docs have it; what it prints."""
        command = [REPO / ".venv/bin/ansible-playbook", playbook, "-i", self.inventory, *map(str, args)]
        done = subprocess.run(command, cwd=REPO, capture_output=True, encoding="utf-8", timeout=100, check=False)
        print(done.stdout, done.stderr)
        assert code is None or done.returncode == code, f"{playbook}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def workers(self) -> dict[str, Any]:
        """The workers file."""
        return json.loads(self.workers_file.read_text(encoding="utf-8"))


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """An inventory without hosts at first."""
    made = Lab(tmp_path)
    yield made
    made.stop_engines()
