"""The checkout is the collection ``ras.runner``: built, installed elsewhere, and run by its name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from tests.ansible.linux.machine import REPO

BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the collection is installed into."""
    folder = tmp_path_factory.mktemp("collection")
    galaxy = [BIN / "ansible-galaxy", "collection"]
    subprocess.run([*galaxy, "build", REPO, "--output-path", folder], check=True, capture_output=True)
    (built,) = folder.glob("ras-runner-*.tar.gz")
    install = [*galaxy, "install", built, "--no-deps", "--offline", "-p", folder / "installed"]
    subprocess.run(install, check=True, capture_output=True)
    return folder


def run(collection: Path, folder: Path, *args: object) -> subprocess.CompletedProcess[str]:
    """A program in a folder of its own, where nothing of the checkout is to be found."""
    env = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(collection / "installed"), "ANSIBLE_FORCE_COLOR": "0"}
    return subprocess.run(list(map(str, args)), cwd=folder, env=env, capture_output=True, encoding="utf-8", check=False)


def test_only_what_belongs_is_in_the_collection(collection: Path):
    (built,) = collection.glob("ras-runner-*.tar.gz")
    with tarfile.open(built) as opened:
        names = set(opened.getnames())
    tops = {name.split("/")[0] for name in names} - {"MANIFEST.json", "FILES.json"}
    assert tops <= {
        *("README.md", "LICENSE", "CHANGELOG.md", "requirements.yml", "execution-environment.yml"),
        *("meta", "docs", "runner", "playbooks", "roles"),
    }
    assert {"playbooks/setup_worker.yml", "roles/worker_report/files/look.py", "meta/runtime.yml"} <= names
    files = {name for name in names if name.startswith("runner/") and name.endswith((".py", ".yml"))}
    assert files == {"runner/ras_runner/fleet/requirements.yml"}
    assert not {name for name in names if name.endswith(".pyc")}


def test_the_version_is_that_of_the_package(collection: Path):
    from ras_runner import __version__

    assert list(collection.glob(f"ras-runner-{__version__}.tar.gz"))


@pytest.mark.parametrize(
    "playbook", ["setup_worker", "verify_worker", "teardown_worker", "build_image", "update_hecras"]
)
def test_every_playbook_is_found_by_name(collection: Path, tmp_path: Path, playbook: str):
    done = run(collection, tmp_path, BIN / "ansible-playbook", "--syntax-check", f"ras.runner.{playbook}")
    assert done.returncode == 0, done.stderr


def test_a_machine_is_set_up_by_the_installed_collection(collection: Path, tmp_path: Path):
    inventory = tmp_path / "lab.yml"
    host = {"ansible_connection": "local", "ras_engine": "standin", "ras_cores_total": 2}
    inventory.write_text(json.dumps({"local": {"hosts": {"here": host}}}), encoding="utf-8")
    done = run(collection, tmp_path, BIN / "ansible-playbook", "-i", inventory, "ras.runner.setup_worker")
    assert done.returncode == 0, done.stdout + done.stderr
    (worker,) = json.loads((tmp_path / "workers.json").read_text(encoding="utf-8"))["workers"]
    assert (worker["type"], worker["parameters"]["cores_total"]) == ("local", 2)
    verified = run(collection, tmp_path, BIN / "ansible-playbook", "-i", inventory, "ras.runner.verify_worker")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_the_root_playbook_is_one_import():
    assert "import_playbook: playbooks/setup_worker.yml" in (REPO / "setup-worker.yml").read_text(encoding="utf-8")
