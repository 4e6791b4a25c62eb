"""``ras-runner setup``: hosts fail alone, each with what to do; no secret is left; a second run completes."""

from __future__ import annotations

import json
import re

from tests.ansible.linux.archive import hecras_archive
from tests.ansible.linux.conftest import Lab
from tests.ansible.linux.machine import Machine
from tests.ssh.sshd import free_port

MARK = "Correct-Horse-7391"


def test_hosts_fail_alone_and_say_what_to_do(lab: Lab, machine: Machine):
    machine.run("useradd -m plain && mkdir /home/plain/.ssh && cp /root/.ssh/authorized_keys /home/plain/.ssh/")
    machine.run("chown -R plain /home/plain/.ssh && useradd other && mkdir /srv/taken && chown other /srv/taken")
    archive = lab.folder / "hecras.zip"
    hecras_archive(archive)
    wrong = {"hecras_linux_archive": str(archive), "hecras_linux_sha256": "0" * 64, "hecras_linux_version": "6.6"}
    lab.environment["RAS_MARKED"] = MARK
    standin = {"ras_engine": "standin", "linux_worker_min_free_gb": 1}
    lab.add("ssh_workers", "good", machine, **standin)
    lab.add("ssh_workers", "away", machine, ansible_port=free_port())
    lab.add("ssh_workers", "no-admin", machine, ansible_user="plain", ansible_become_password=MARK)
    lab.add("ssh_workers", "mistyped", machine, ras_worker_type="shh")
    lab.add("ssh_workers", "unknown", machine, ras_core_total=4)
    lab.add("ssh_workers", "wrong-value", machine, ras_queue_priority=12)
    lab.add("ssh_workers", "plain-secret", machine, ras_passphrase=MARK)
    lab.add("ssh_workers", "small-disk", machine, linux_worker_min_free_gb=10**6)
    lab.add("local", "wrong-checksum", **wrong)
    lab.add("ssh_workers", "no-key", machine, ras_ssh_key_path="/nowhere/id", linux_worker_min_free_gb=1)
    lab.add("ssh_workers", "taken", machine, ras_worker_folder="/srv/taken", linux_worker_min_free_gb=1)

    done = lab.run("setup", "-i", lab.inventory, code=2)

    reasons = {row["name"]: row["reason"] for row in lab.workers()["left_out"]}
    expected = {
        "away": "cannot be reached",
        "no-admin": "ansible_become_password",
        "mistyped": "worker type shh is not known.*known types are .*docker, local, psexec, .*ssh, winrm",
        "unknown": "no variable ras_core_total",
        "wrong-value": "ras_queue_priority is 12.*0 to 9",
        "plain-secret": "ras_passphrase is not a reference",
        "small-disk": "GB free.*linux_worker_folder on another disk",
        "wrong-checksum": f"not {'0' * 64}.*download it again",
        "no-key": "no public key /nowhere/id.pub.*ssh-keygen",
        "taken": "belongs to other",
    }
    assert reasons.keys() == expected.keys()
    for host, pattern in expected.items():
        assert re.search(pattern, reasons[host]), (host, reasons[host])
    assert [worker["name"] for worker in lab.workers()["workers"]] == ["good"]
    assert "1 of 11 hosts are ready" in done.stderr
    assert "good: changed: linux_worker: Make the worker folder" in done.stderr
    assert re.search(r"small-disk \(.*\n.*GB free", done.stdout)
    for text in (done.stdout, done.stderr, lab.workers_file.read_text()):
        assert MARK not in text
    kept = [path for path in lab.state.rglob("*") if path.is_file()]
    assert [path.name for path in kept] == ["events.jsonl"]
    assert not [path for path in kept if MARK.encode() in path.read_bytes()]
    states = {(e["host"], e["state"]) for e in map(json.loads, kept[0].read_text().splitlines())}
    assert {("good", "ok"), ("no-key", "failed")} <= states

    # what was wrong is corrected: a second run completes that host, and leaves the others as they are
    lab.add("ssh_workers", "small-disk", machine, **standin)
    again = lab.run("setup", "-i", lab.inventory, "--limit", "small-disk")
    assert "1 of 1 hosts are ready" in again.stderr
    assert [worker["name"] for worker in lab.workers()["workers"]] == ["good", "small-disk"]
    assert {row["name"] for row in lab.workers()["left_out"]} == expected.keys() - {"small-disk"}
