"""verify_worker changes nothing, and says of each requirement whether it is met, and what to do."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.ansible.linux.conftest import Lab
from tests.ansible.linux.machine import REPO, Machine


def test_a_fresh_machine_lacks_what_the_table_says(lab: Lab, machine: Machine):
    before = machine.changes()
    lab.add("ssh_workers", "node1", machine, linux_worker_min_free_gb=1)
    output = lab.play("playbooks/verify_worker.yml", code=2)
    lacks = set(re.findall(r"^ +- '?([a-z-]+): NOT met", output, re.MULTILINE))
    assert lacks == {"linux-user", "linux-folder", "linux-limits", "hecras-linux"}
    assert "Next: run setup_worker with the tag users" in " ".join(output.split())
    assert machine.changes() == before


def test_a_role_that_says_nothing_of_itself_is_run_in_check_mode(lab: Lab, machine: Machine, tmp_path: Path):
    """As the Windows roles are; here a copy of a Linux role that cannot say."""
    copy = tmp_path / "checkout"
    for name in ("playbooks", "roles", "docs"):
        shutil.copytree(REPO / name, copy / name)
    (copy / "runner/ras_runner/fleet").mkdir(parents=True)
    shutil.copy(REPO / "runner/ras_runner/fleet/requirements.yml", copy / "runner/ras_runner/fleet")
    shutil.copy(REPO / "ansible.cfg", copy)
    (copy / "roles/linux_worker/tasks/verify.yml").unlink()
    before = machine.changes()
    lab.add("ssh_workers", "node1", machine, linux_worker_min_free_gb=1, ras_engine="standin")
    command = [Path(sys.executable).parent / "ansible-playbook", "playbooks/verify_worker.yml", "-i", lab.inventory]
    refused = subprocess.run(command, cwd=copy, capture_output=True, encoding="utf-8", check=False)
    assert "run verify_worker with --check" in " ".join(refused.stdout.split())
    command.append("--check")
    done = subprocess.run(command, cwd=copy, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 2, done.stdout + done.stderr
    words = " ".join(done.stdout.split())
    assert "linux-user: NOT met (in check mode, the role linux_worker would change something)" in words
    assert machine.changes() == before
