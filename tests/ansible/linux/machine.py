"""A throw-away Linux machine with an sshd of its own: overlay file system, mount, process and host name namespaces.

Its lower layer is a fresh Debian (the base image of the Docker tests), or this very machine, which then has Docker.
What a test writes there is in memory, can be listed, and is gone afterwards.
"""

from __future__ import annotations

import contextlib
import filecmp
import os
import re
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.commands import wait_until
from tests.ssh.sshd import free_port, make_key

REPO = Path(__file__).resolve().parents[3]

#: Runs as the first process of the namespaces: LOWER FOLDER PORT. Lays the file systems, and becomes sshd in there.
_INIT = r"""
set -eu
lower=$1 top=$2 port=$3
mount -t tmpfs tmpfs "$top/mem"
mkdir "$top/mem/upper" "$top/mem/work"
mount -t overlay overlay -o "lowerdir=$lower,upperdir=$top/mem/upper,workdir=$top/mem/work" "$top/root"
cd "$top/root"
mount -t proc proc proc
mount --rbind /dev dev
mount -t sysfs -o ro sysfs sys
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
chmod 1777 tmp
if [ "$lower" = / ]; then
  mount -t tmpfs -o mode=700 tmpfs root # a developer's shell may start much there
  rm -rf var/lib/ras-runner # of other tests
fi
mkdir -p run/sshd opt/ras-standin root/.ssh
mount -o bind,ro "$4" opt/ras-standin
cat >usr/local/bin/ras-standin <<'X'
#!/bin/sh
PYTHONPATH=/opt/ras-standin exec python3 -m ras_standin "$@"
X
chmod 755 usr/local/bin/ras-standin
install -m 600 "$top/key.pub" root/.ssh/authorized_keys
install -m 600 "$top/host_key" run/sshd/host_key
hostname worker-under-test
exec chroot . /usr/sbin/sshd -D -e -f /dev/null -p "$port" -o ListenAddress=127.0.0.1 -o HostKey=/run/sshd/host_key \
  -o PidFile=none -o UsePAM=yes -o PasswordAuthentication=no -o MaxStartups=100 -o LogLevel=ERROR \
  -o 'Subsystem=sftp internal-sftp'
"""
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: What any use of a machine leaves: logs, locks and backups of the account files, Ansible's own folder.
_NOT_OURS = re.compile(
    r"^(var/log|root/\.ansible|root/\.cache|var/lib/sudo|run)(/|$)|/__pycache__(/|$)|^etc/(\.pwd\.lock|.*-)$|^var/lib/private"
)


class MachineUnavailable(Exception):  # noqa: N818  a reason to skip, not an error
    """There can be no such machine here."""


@dataclass
class Machine:
    """A running machine.

    Attributes:
        folder: ``key`` opens it as root, ``known_hosts`` knows it.
        lower: its files at first.
        port: of its sshd on 127.0.0.1.
        process: the first process of its namespaces.
    """

    folder: Path
    lower: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def variables(self) -> dict[str, object]:
        """Of its host in an Ansible inventory."""
        options = f"-o UserKnownHostsFile={self.folder}/known_hosts -o ControlMaster=auto -o ControlPersist=30s"
        return {
            "ansible_host": "127.0.0.1",
            "ansible_port": self.port,
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(self.folder / "key"),
            "ansible_ssh_common_args": f"{options} -o ControlPath={self.folder}/cm-%r",
            "ansible_python_interpreter": "/usr/bin/python3",
        }

    def run(self, command: str, *, code: int | None = 0) -> str:
        """A command there, as root; what it prints."""
        enter = ["nsenter", "--target", str(self._init()), "--mount", "--pid", "--uts", "--root", "--wd=/"]
        own = {"PATH": _PATH, "HOME": "/root"}  # what is set here (SLURM_CONF, say) is not set there
        done = subprocess.run(
            [*enter, "/bin/sh", "-c", command], capture_output=True, encoding="utf-8", env=own, check=False
        )
        assert code is None or done.returncode == code, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def write(self, path: str, content: bytes) -> None:
        """Write a file there."""
        enter = ["nsenter", "--target", str(self._init()), "--mount", "--root", "--wd=/", "tee", path]
        subprocess.run(enter, input=content, stdout=subprocess.DEVNULL, check=True)

    def changes(self) -> set[str]:
        """Paths that are not as in the lower layer: new, gone, or with other content."""
        upper = Path(f"/proc/{self.process.pid}/root{self.folder}/mem/upper")
        found = set()
        for path in upper.rglob("*"):
            name = path.relative_to(upper).as_posix()
            if not _NOT_OURS.search(name) and not _same(path, self.lower / name):
                found.add(name)
        return found

    def _init(self) -> int:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text(encoding="ascii")
        return int(children.split()[0])


def _same(new: Path, old: Path) -> bool:
    if stat.S_ISCHR(new.lstat().st_mode):  # overlayfs' mark of what is gone
        return False
    if new.is_dir() and not new.is_symlink():
        return old.is_dir()
    if new.is_symlink() or old.is_symlink():
        return new.is_symlink() and old.is_symlink() and new.readlink() == old.readlink()
    return old.is_file() and filecmp.cmp(new, old, shallow=False)


@contextlib.contextmanager
def running_machine(folder: Path, lower: Path) -> Iterator[Machine]:
    """A machine whose files are those of ``lower`` at first.

    Raises:
        MachineUnavailable: says why.
    """
    if sys.platform != "linux" or os.geteuid() != 0:
        raise MachineUnavailable("a throw-away machine needs root on Linux")
    if not (lower / "usr/sbin/sshd").exists():
        raise MachineUnavailable(f"no sshd in {lower} (tests/install-services.sh docker ssh)")
    for name in ("mem", "root"):
        (folder / name).mkdir(parents=True)
    make_key(folder / "key")
    make_key(folder / "host_key")
    port = free_port()
    host_key = (folder / "host_key.pub").read_text("ascii")
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}", encoding="ascii")
    spaces = ["unshare", "--mount", "--propagation", "private", "--pid", "--uts", "--fork", "--kill-child"]
    command = [*spaces, "bash", "-c", _INIT, "init", str(lower), str(folder), str(port), str(REPO / "runner")]
    with (folder / "sshd.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    machine = Machine(folder, lower, port, process)
    try:
        wait_until(lambda: _answers(port) or process.poll() is not None, "the machine's sshd answers")
        if process.poll() is not None:
            raise MachineUnavailable((folder / "sshd.log").read_text("utf-8", "replace"))
        yield machine
    finally:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as sock:
        return sock.recv(4) == b"SSH-"
    return False
