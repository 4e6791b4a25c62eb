"""What all tests share: real HEC-RAS data read in place, an example project, and deterministic property tests."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from tests.commands import Runner
from tests.daemons import (
    dask_cluster,
    docker_daemon,
    slurm_cluster,
    sshd,
    windows_host,
    windows_machine,
    winrm_host,
    winrm_session,
)

from ras_runner.campaign.journal import Journal
from ras_runner.hecras.example import write_example_project
from ras_runner.hecras.project import Project

if TYPE_CHECKING:
    from tests.side_by_side import SideBySide

__all__ = [
    "dask_cluster",
    "docker_daemon",
    "slurm_cluster",
    "sshd",
    "windows_host",
    "windows_machine",
    "winrm_host",
    "winrm_session",
]

# programs under wine take several times as long, and what differs there needs no many examples
_EXAMPLES = 20 if sys.platform == "win32" else 100
settings.register_profile("ras-runner", derandomize=True, deadline=None, database=None, max_examples=_EXAMPLES)
settings.load_profile("ras-runner")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort the tests for the processes that share them; one process alone has them folder by folder."""
    if hasattr(config, "workerinput"):
        from tests.side_by_side import rank

        items.sort(key=lambda item: rank(item.nodeid))


@pytest.hookimpl(optionalhook=True)  # under wine there is no pytest-xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> SideBySide:
    """Share the tests as tests/side_by_side.py says."""
    from tests.side_by_side import SideBySide

    config.option.loadscopereorder = False  # it would sort by the number of tests
    return SideBySide(config, log)


SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def shared_data(name: str) -> Path:
    """Real HEC-RAS data, which others own: read where it lies, never copied into the project."""
    path = SHARED_DATA / name
    if not path.exists():
        pytest.skip(f"real HEC-RAS data is not at {path}")
    return path


@pytest.fixture(scope="session")
def example_prj(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An example project; not to be written to."""
    return write_example_project(tmp_path_factory.mktemp("example"))


@pytest.fixture
def project(example_prj: Path, tmp_path: Path) -> Project:
    """A copy of the example project of its own for one test."""
    folder = tmp_path / "project"
    shutil.copytree(example_prj.parent, folder)
    return Project.open(folder)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """A journal of its own for one test."""
    opened = Journal(tmp_path / "state")
    yield opened
    opened.close()


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    """``ras-runner`` with its own state and worker folder; its engines are ended after the test."""
    made = Runner(tmp_path)
    yield made
    made.stop_engines()
