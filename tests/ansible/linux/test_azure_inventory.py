"""inventory/azure_rm.yml with the real plugin: its options, filters, groups and variables.

What the plugin fetches comes from its own cache here: its fifty libraries are not installed, and there is no Azure.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.ansible.linux.machine import REPO

INVENTORY = REPO / "inventory" / "azure_rm.yml"
OURS = {
    "ras-runner-managed-by": "ras-runner",
    "ras-runner-campaign": "c-1",
    "ras-runner-docker-image": "hecras:6.6",
}
#: Puts what standard input holds into the plugin's cache, by its key for this inventory.
FILL = """
import json, sys
from ansible.plugins.loader import init_plugin_loader, inventory_loader
from ansible.plugins.cache import CachePluginAdjudicator
init_plugin_loader()
inventory, folder = sys.argv[1:]
key = inventory_loader.get("azure.azcollection.azure_rm").get_cache_key(inventory)
cache = CachePluginAdjudicator("ansible.builtin.jsonfile", _uri=folder, _prefix="ansible_inventory_", _timeout=3600)
cache[key] = json.load(sys.stdin)
cache.set_cache()
"""


def machine(name: str, tags: dict[str, str], number: int, **changes: Any) -> dict[str, Any]:
    """What the plugin finds out of a machine (its ``AzureHost.hostvars``), as far as it goes into variables."""
    found = {
        "name": name,
        "tags": tags,
        "location": "westeurope",
        "powerstate": "running",
        "provisioning_state": "succeeded",
        "os_profile": {"system": "linux"},
        "public_ipv4_address": [],
        "private_ipv4_addresses": [f"10.0.0.{number}"],
        "resource_group": "burst-1",
    }
    return {"default_inventory_hostname": f"{name}_0a1b", "hostvars": found | changes}


def listed(collections: Path, folder: Path, machines: list[dict[str, Any]]) -> dict[str, Any]:
    """What ``ansible-inventory`` makes of these."""
    environment = os.environ | {
        "ANSIBLE_COLLECTIONS_PATH": str(collections),
        "ANSIBLE_INVENTORY_CACHE": "true",
        "ANSIBLE_INVENTORY_CACHE_PLUGIN": "ansible.builtin.jsonfile",
        "ANSIBLE_INVENTORY_CACHE_CONNECTION": str(folder),
        "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true",
    }

    def said(*command: str | Path, given: str = "") -> str:
        done = subprocess.run(
            command,
            env=environment,
            cwd=REPO,
            input=given,
            capture_output=True,
            encoding="utf-8",
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    said(sys.executable, "-c", FILL, INVENTORY, folder, given=json.dumps(machines))
    program = Path(sys.executable).with_name("ansible-inventory")
    # Ansible marks what comes from outside
    text = said(program, "-i", INVENTORY, "--list")
    result: dict[str, Any] = json.loads(text, object_hook=lambda found: found.get("__ansible_unsafe", found))
    return result


@pytest.fixture
def collections(windows_collections: Path) -> Path:
    """Where azure.azcollection is."""
    assert (windows_collections / "ansible_collections" / "azure" / "azcollection").is_dir()
    return windows_collections


def test_machines_of_ours_are_listed(collections: Path, tmp_path: Path) -> None:
    found = listed(
        collections,
        tmp_path,
        [
            machine("burst-1_a", OURS, 1),
            machine("burst-1_b", OURS, 2, public_ipv4_address=["203.0.113.2"]),
            machine("burst-1_w", OURS | {"ras-runner-docker-image": ""}, 3, os_profile={"system": "windows"}),
            machine("somebody-elses", {"team": "hydrology"}, 4),
            machine("also-not-ours", OURS | {"ras-runner-managed-by": "me"}, 5),
            machine("burst-1_gone", OURS, 6, powerstate="deallocated"),
        ],
    )
    hosts = found["_meta"]["hostvars"]
    assert set(hosts) == {"burst-1_a", "burst-1_b", "burst-1_w"}
    assert set(found["docker_workers"]["hosts"]) == {"burst-1_a", "burst-1_b"}
    assert found["windows_workers"]["hosts"] == ["burst-1_w"]
    assert set(found["campaign_c_1"]["hosts"]) == set(hosts)
    assert [hosts[name]["ansible_host"] for name in sorted(hosts)] == ["10.0.0.1", "203.0.113.2", "10.0.0.3"]

    def ours(name: str) -> dict[str, Any]:
        return {k: v for k, v in hosts[name].items() if k.startswith(("ansible_", "ras_", "docker_"))}

    assert ours("burst-1_a") == {
        "ansible_connection": "ssh",
        "ansible_host": "10.0.0.1",
        "ansible_port": 22,
        "ansible_user": "ras",
        "docker_engine_users": ["ras"],
        "ras_docker_host": "ssh://ras@10.0.0.1",
        "ras_docker_image": "hecras:6.6",
        "ras_worker_folder": "/var/lib/ras-runner/worker",
    }
    assert ours("burst-1_w") == {
        "ansible_connection": "winrm",
        "ansible_host": "10.0.0.3",
        "ansible_port": 5986,
        "ansible_user": "ras",
        "ansible_winrm_transport": "ntlm",
        "ras_worker_type": "winrm",
    }
