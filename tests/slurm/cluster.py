"""A private Slurm cluster on this machine: munged, slurmctld, and three slurmd that are three nodes.

The node ``n3``, of the partition ``island``, has a file system of its own at :attr:`SlurmCluster.not_shared`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.commands import wait_until
from tests.ssh.sshd import STANDIN


class SlurmUnavailable(Exception):  # noqa: N818  a reason to skip, not an error
    """There is no Slurm here."""


NODES = ("n1", "n2", "n3")
_PATH = os.environ.get("PATH", "") + ":/usr/sbin"
_DAEMONS = ("munged", "slurmctld", "slurmd")
_CONF = """\
ClusterName=rivers
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=100
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
PreemptType=preempt/partition_prio
PreemptMode=CANCEL
MpiDefault=none
ReturnToService=2
KillWait=2
MaxArraySize={array_size}
AccountingStorageType=accounting_storage/none
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 RealMemory=2000
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory=2000
NodeName=n3 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[3]} CPUs=2 RealMemory=2000
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=60 State=UP PriorityTier=1
PartitionName=urgent Nodes=n1,n2 MaxTime=60 State=UP PriorityTier=10
PartitionName=closed Nodes=n2 MaxTime=60 State=DOWN
PartitionName=island Nodes=n3 MaxTime=60 State=UP
"""


@dataclass
class SlurmCluster:
    """A running cluster.

    Attributes:
        folder: its files.
        array_size: elements that an array may have.
    """

    folder: Path
    array_size: int = 4

    @property
    def not_shared(self) -> Path:
        """A folder that the node n3 does not share."""
        return self.folder / "not-shared"

    @property
    def configuration(self) -> Path:
        """Its ``slurm.conf``."""
        return self.folder / "slurm.conf"

    def start(self) -> None:
        """Start the daemons, and wait until the nodes take jobs."""
        host = socket.gethostname().split(".")[0]
        text = _CONF.format(host=host, folder=self.folder, ports=_free_ports(4), array_size=self.array_size)
        self.configuration.write_text(text, encoding="utf-8")
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        for name in ("state", "not-shared", *(f"spool.{node}" for node in NODES)):
            (self.folder / name).mkdir()
        files = {"socket": "munge.sock", "key-file": "munge.key", "pid-file": "munged.pid"}
        files |= {"seed-file": "munge.seed", "log-file": "munged.log"}
        options = [f"--{name}={self.folder / file}" for name, file in files.items()]
        self.daemon("munged", "--force", *options)
        self.start_controller("-c")
        for node in NODES[:2]:
            self.daemon("slurmd", "-N", node, "-f", self.configuration)
        alone = 'mount -t tmpfs none "$1" && shift && exec "$@"'
        slurmd = ("slurmd", "-N", NODES[2], "-f", self.configuration)
        self.daemon("unshare", "--mount", "sh", "-c", alone, "sh", self.not_shared, *slurmd)
        wait_until(self._idle, "the nodes are idle", 30)

    def _idle(self) -> bool:
        return self.say("sinfo", "-h", "-N", "-p", "main,island", "-o", "%t").split() == ["idle"] * len(NODES)

    def start_controller(self, *options: str) -> None:
        """Start slurmctld."""
        self.daemon("slurmctld", *options, "-f", self.configuration)

    def daemon(self, name: str, *options: object) -> None:
        """Start a daemon, which goes into the background by itself."""
        command = [name, *map(str, options)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, env=self.environment)
        assert done.returncode == 0, done.stderr

    @property
    def environment(self) -> dict[str, str]:
        """This process's, for Slurm's commands."""
        return {**os.environ, "PATH": _PATH, "SLURM_CONF": str(self.configuration)}

    def say(self, *command: str) -> str:
        """What one of Slurm's commands prints; nothing when it fails."""
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, env=self.environment)
        return done.stdout.strip() if done.returncode == 0 else ""

    def running(self) -> dict[str, str]:
        """The jobs that run: id -> node."""
        lines = self.say("squeue", "-h", "-r", "-t", "RUNNING", "-o", "%i %N").splitlines()
        return dict(line.split() for line in lines)

    def stop(self, daemon: str) -> None:
        """End a daemon of this cluster, by the process id that it has written."""
        file = self.folder / f"{daemon}.pid"
        if not file.exists():
            return
        process = int(file.read_text("ascii"))
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, 15)
        wait_until(lambda: not _runs(process), f"{daemon} has ended", 20)

    def clear(self, ids: Iterable[str] = ()) -> None:
        """Cancel these jobs, or all, and wait until they have gone."""
        chosen = [f"--jobs={','.join(ids)}"] if ids else []
        self.say("scancel", "--signal=KILL", "--full", *(ids or ["--user=root"]))
        wait_until(lambda: not self.say("squeue", "-h", *chosen), "no job is left", 20)

    def close(self) -> None:
        """End everything."""
        self.clear()
        for daemon in (*(f"slurmd.{node}" for node in NODES), "slurmctld", "munged"):
            self.stop(daemon)

    def parameters(self, folder: Path, **others: Any) -> dict[str, Any]:
        """Parameters of a worker whose submit host is this machine."""
        return {
            "worker_folder": str(folder),
            "engine": "standin",
            "standin_command": str(STANDIN),
            "cores_per_plan": 1,
            "max_parallel_plans": 2,
            **others,
        }


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, below those that connections get: a daemon binds its own only after it has made
    some.
    """
    found: list[int] = []
    for port in range(20000 + os.getpid() % 10000, 32000):
        with contextlib.suppress(OSError), socket.socket() as sock:
            sock.bind(("0.0.0.0", port))
            found.append(port)
        if len(found) == count:
            return found
    raise AssertionError("no port is free")


def _runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text("ascii").rsplit(") ", 1)[1][0] != "Z"
    except OSError:
        return False


@contextlib.contextmanager
def running_cluster(folder: Path, **others: int) -> Iterator[SlurmCluster]:
    """A cluster whose commands this process and its children have.

    Raises:
        SlurmUnavailable: it cannot be started here.
    """
    missing = [name for name in (*_DAEMONS, "sbatch") if shutil.which(name, path=_PATH) is None]
    if missing:
        raise SlurmUnavailable(f"{', '.join(missing)} of Slurm are not installed (tests/install-services.sh slurm)")
    if sys.platform != "linux" or os.geteuid() != 0:
        raise SlurmUnavailable("a Slurm cluster of one machine needs root")
    made = SlurmCluster(folder, **others)
    with pytest.MonkeyPatch.context() as patch:
        try:
            made.start()
            patch.setenv("SLURM_CONF", str(made.configuration))
            yield made
        finally:
            made.close()
