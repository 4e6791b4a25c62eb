"""Ansible connection to a simulated Windows machine: the module payloads of core, answered by ``host.run``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.connection import ConnectionBase
from tests.simulators.ansible_windows import host

DOCUMENTATION = """
name: win_sim
short_description: A simulated Windows machine, for tests
description: Runs nothing; answers PowerShell modules on a state in JSON.
author: ras-runner
options:
  root:
    description: Folder of the machine's state.
    type: str
    required: true
    vars: [{name: ansible_win_sim_root}]
  connection_timeout:
    description: Not used; win_reboot sets it.
    type: int
    default: 30
    vars: [{name: ansible_win_sim_timeout}]
"""


class Connection(ConnectionBase):
    """One simulated machine."""

    transport = "win_sim"
    has_pipelining = True
    always_pipeline_modules = True
    allow_executable = False
    module_implementation_preferences = (".ps1", ".exe", "")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._shell_type = "powershell"
        super().__init__(*args, **kwargs)

    @property
    def _root(self) -> Path:
        return Path(self.get_option("root"))

    def _connect(self) -> Connection:
        self._connected = True
        return self

    def close(self) -> None:
        """Nothing to close."""
        self._connected = False

    def reset(self) -> None:
        """Nothing to reset."""

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> host.Answer:
        """Answer one command."""
        super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        try:
            return host.run(cmd, in_data, self._root)
        except host.DownError:
            raise AnsibleConnectionFailure("the simulated machine does not answer") from None

    def put_file(self, in_path: str, out_path: str) -> None:
        """Upload a file."""
        host.put(self._root, self._shell._unquote(out_path), Path(in_path).read_bytes())

    def fetch_file(self, in_path: str, out_path: str) -> None:
        """No role fetches files."""
        raise AnsibleError("simulator: fetching files is not simulated")
