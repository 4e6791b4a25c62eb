"""Daemons that several folders of tests use: one of each a session, started by the first test that asks for it."""

from __future__ import annotations

import contextlib
import uuid
from typing import TYPE_CHECKING

import pytest
from tests.services import not_here

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from typing import TypeVar

    from tests.dask.cluster import DaskCluster
    from tests.docker.daemon import Daemon
    from tests.simulators.windows_host.host import WindowsHost
    from tests.slurm.cluster import SlurmCluster
    from tests.ssh.sshd import Sshd
    from tests.wine.wine import WindowsMachine
    from tests.winrm.conftest import WinRmHost

    Service = TypeVar("Service")

# What each needs is imported by the fixture: not every machine that runs tests has it.


@contextlib.contextmanager
def _started(service: Callable[[], AbstractContextManager[Service]], unavailable: type[Exception]) -> Iterator[Service]:
    """A service; where it is ``unavailable``, its tests fail or are skipped with the reason."""
    with contextlib.ExitStack() as stack:
        try:
            running = stack.enter_context(service())
        except unavailable as reason:
            not_here(reason)
        yield running


@pytest.fixture(scope="session")
def dask_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    """A Dask cluster: two workers with a thread each."""
    from tests.dask.cluster import DaskUnavailable, running_cluster

    with _started(lambda: running_cluster(tmp_path_factory.mktemp("dask")), DaskUnavailable) as running:
        running.add("a")
        running.add("b")
        yield running


@pytest.fixture(scope="session")
def docker_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A dockerd with the stand-in's image."""
    from tests.docker.daemon import DockerUnavailable, running_daemon

    with _started(lambda: running_daemon(tmp_path_factory.mktemp("dockerd")), DockerUnavailable) as running:
        yield running


@pytest.fixture(scope="session")
def slurm_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    """A Slurm cluster of three nodes."""
    from tests.slurm.cluster import SlurmUnavailable, running_cluster

    with _started(lambda: running_cluster(tmp_path_factory.mktemp("slurm")), SlurmUnavailable) as running:
        yield running


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """An sshd."""
    from tests.ssh.sshd import SshdUnavailable, running_sshd

    with _started(lambda: running_sshd(tmp_path_factory.mktemp("sshd")), SshdUnavailable) as running:
        yield running


@pytest.fixture(scope="session")
def windows_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WindowsMachine]:
    """A Windows machine; it sees pytest's folders and, read-only, this checkout and the real data beside it."""
    from tests.wine.wine import REPO, WineUnavailable, build_folder, machine

    folders = [folder for folder in (REPO, REPO.parent / "shared" / "data") if folder.is_dir()]
    places = {"writable": [tmp_path_factory.getbasetemp()], "readable": folders}
    scratch = tmp_path_factory.mktemp("wine-machine")
    with _started(lambda: machine(build_folder(), scratch, **places), WineUnavailable) as running:
        yield running


@pytest.fixture(scope="session")
def windows_host(windows_machine: WindowsMachine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WindowsHost]:
    """A Windows host with shares and PsExec; each test that runs plans has a folder of its own on it."""
    from tests.simulators.windows_host.host import wine_host
    from tests.simulators.windows_host.smbd import SambaUnavailable
    from tests.windows.conftest import WindowsRunner
    from tests.wine.wine import Windows

    windows = Windows(windows_machine, tmp_path_factory.mktemp("host"), uuid.uuid4().hex)
    WindowsRunner.mark = windows.mark
    with _started(lambda: wine_host(windows, tmp_path_factory.getbasetemp()), SambaUnavailable) as running:
        yield running


@pytest.fixture(scope="session")
def winrm_session(windows_machine: WindowsMachine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WinRmHost]:
    """A Windows host behind WinRM."""
    from tests.winrm.conftest import running_winrm_host

    with running_winrm_host(windows_machine, tmp_path_factory.mktemp("winrm")) as running:
        yield running


@pytest.fixture
def winrm_host(winrm_session: WinRmHost) -> Iterator[WinRmHost]:
    """The same as one test finds it."""
    winrm_session.host.reset()
    winrm_session.server.faults.clear()
    winrm_session.server.logins.clear()
    winrm_session.server.refused.clear()
    yield winrm_session
    for other in winrm_session.others:
        other.stop()
    winrm_session.others.clear()
