"""Simulated Windows machines and the Ansible that sets them up."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.simulators.ansible_windows.machine import fresh_state

from ras_runner._version import __version__

REPOSITORY = Path(__file__).parents[2]
ROLES = REPOSITORY / "roles"
PLAYBOOK = REPOSITORY / "tests" / "ansible" / "roles.yml"
SIMULATOR = REPOSITORY / "tests" / "simulators" / "ansible_windows"
#: In the order of a set-up; a teardown goes the other way.
WINDOWS_ROLES = [
    "windows_account",
    "windows_user_rights",
    "windows_remote_uac",
    "windows_remote_registry",
    "windows_share",
    "windows_winrm",
    "windows_ssh",
    "windows_firewall",
    "windows_session",
    "hecras_windows",
]
#: Of a machine of a Dask cluster, which needs the desktop that the others bring.
DASK_ROLE = "windows_dask_worker"
PASSWORD = "Marked-5ecret-of-the-worker!"
KEY = f"ssh-ed25519 {'A' * 68} controller@example.org"


@dataclass
class Played:
    """What became of one run of ansible-playbook.

    Attributes:
        code: its exit code.
        output: all that it printed.
        records: of the callback plugin ``records``.
    """

    code: int
    output: str
    records: list[dict[str, str]]

    def of(self, host: str, *statuses: str) -> list[dict[str, str]]:
        """The host's tasks with one of these statuses."""
        return [record for record in self.records if record["host"] == host and record["status"] in statuses]

    def problem(self, host: str) -> str:
        """Why the host failed; empty when it did not."""
        return " ".join(" ".join(r["message"] for r in self.of(host, "failed", "unreachable")).split())

    def messages(self, host: str) -> str:
        """All that the host's tasks said."""
        return " ".join(" ".join(record["message"] for record in self.of(host, "ok", "changed")).split())


@dataclass
class Fleet:
    """Simulated machines below a folder.

    Attributes:
        folder: theirs.
        collections: where ansible.windows and community.windows are.
        hosts: variables of each machine.
    """

    folder: Path
    collections: Path
    hosts: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, name: str, *roles: str, state: dict[str, Any] | None = None, **variables: Any) -> None:
        """A machine; ``state`` replaces tables of a fresh one."""
        root = self.folder / name
        root.mkdir()
        self.hosts[name] = {
            "ansible_connection": "win_sim",
            "ansible_win_sim_root": str(root),
            "test_roles": list(roles),
            **variables,
        }
        self.set_state(name, fresh_state(**(state or {})))

    def state(self, name: str) -> dict[str, Any]:
        """The machine's state now, without the log of calls."""
        state: dict[str, Any] = json.loads((self.folder / name / "state.json").read_text(encoding="utf-8"))
        del state["calls"]
        return state

    def set_state(self, name: str, state: dict[str, Any]) -> None:
        """Change the machine."""
        (self.folder / name / "state.json").write_text(json.dumps({"calls": [], **state}), encoding="utf-8")

    def installer(self, name: str, **changes: str) -> dict[str, str]:
        """A file that the simulated machine takes for HEC-RAS's installer; variables that name it."""
        content = {"product": "{6A5C7D1E-0000-4000-8000-000000000066}", "version": "6.6.0.0"} | changes
        content.setdefault("folder", r"C:\Program Files (x86)\HEC\HEC-RAS\6.6")
        file = self.folder / name
        file.write_text(json.dumps(content), encoding="utf-8")
        checksum = hashlib.sha256(file.read_bytes()).hexdigest()
        return {"hecras_windows_installer": str(file), "hecras_windows_checksum": checksum}

    def dask(self) -> dict[str, Any]:
        """Variables of a machine of a Dask cluster, and the files that they name, below where Ansible starts."""
        archive, wheels = self.folder / "python.3.13.9.nupkg", self.folder / "wheels"
        if not wheels.exists():
            wheels.mkdir()
            wheels.joinpath(f"ras_runner-{__version__}-py3-none-any.whl").write_bytes(b"ours")
            with zipfile.ZipFile(archive, "w") as package:
                for name in ("python.exe", "pythonw.exe"):
                    package.writestr(f"tools/{name}", json.dumps({"version": "3.13.9150.1013"}))
            for name in ("ca", "cert", "key"):
                self.folder.joinpath(f"{name}.pem").write_text(f"the PEM of {name}\n", encoding="utf-8")
        return {
            "windows_dask_worker_scheduler": "tls://192.0.2.5:8786",
            "windows_dask_worker_archive": archive.name,
            "windows_dask_worker_checksum": hashlib.sha256(archive.read_bytes()).hexdigest(),
            "windows_dask_worker_wheels": wheels.name,
            "windows_dask_worker_start_seconds": 1,
            **{f"windows_dask_worker_tls_{name}": f"{name}.pem" for name in ("ca", "cert", "key")},
        }

    def play(self, state: str = "present", *options: str, playbook: Path | None = None) -> Played:
        """Run the playbook on all machines."""
        inventory = self.folder / "inventory.json"
        variables: dict[str, Any] = {f"{role}_state": "{{ test_state }}" for role in WINDOWS_ROLES}
        variables |= {"test_state": state, "windows_account_password": PASSWORD}
        inventory.write_text(json.dumps({"all": {"hosts": self.hosts, "vars": variables}}), encoding="utf-8")
        records = self.folder / "records.jsonl"
        records.unlink(missing_ok=True)
        done = subprocess.run(
            [Path(sys.executable).with_name("ansible-playbook"), "-i", inventory, *options, playbook or PLAYBOOK],
            env=self._environment(records),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        lines = records.read_text(encoding="utf-8").splitlines() if records.exists() else []
        return Played(done.returncode, done.stdout, [json.loads(line) for line in lines])

    def _environment(self, records: Path) -> dict[str, str]:
        ours = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        return ours | {
            "ANSIBLE_CALLBACKS_ENABLED": "records",
            "ANSIBLE_CALLBACK_PLUGINS": str(REPOSITORY / "tests" / "ansible" / "callback_plugins"),
            "ANSIBLE_COLLECTIONS_PATH": str(self.collections),
            "ANSIBLE_CONNECTION_PLUGINS": str(SIMULATOR / "connection_plugins"),
            "ANSIBLE_FORKS": "4",
            "ANSIBLE_HOME": str(self.folder / "ansible"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_RETRY_FILES_ENABLED": "0",
            "ANSIBLE_ROLES_PATH": str(ROLES),
            "PYTHONPATH": str(REPOSITORY),
            "RAS_TEST_RECORDS": str(records),
        }
