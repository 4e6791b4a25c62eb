"""Inside of a played cloud machine: the first process of its namespaces. It does what the machine's user data says.

Nothing of the user data is changed: cloud-init's part is played here (users, write_files, runcmd), the metadata service
answers at its usual address, and programs that the test machine lacks are those of ``programs.py``.

    python -m tests.burst.machine FOLDER     (as root, in new mount, PID and network namespaces)
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

REPO = Path(__file__).resolve().parents[2]
METADATA = "169.254.169.254"
#: Programs of a cloud machine that are played by ``programs.py``.
PLAYED = ("aws", "dnf", "logger", "systemctl")
SSHD = """Port 22
HostKey /etc/ssh/ssh_host_ed25519_key
AuthorizedKeysFile .ssh/authorized_keys
UsePAM no
PasswordAuthentication no
PermitRootLogin no
MaxStartups 100
LogLevel ERROR
"""


def run(*command: object, **kwargs: Any) -> None:
    """A command that has to succeed."""
    subprocess.run([str(word) for word in command], check=True, **kwargs)


def mount(disk: Path) -> None:
    """Give the machine a disk of its own where it writes; everything else is the test machine's, read only by habit."""
    for place in ("/etc", "/home", "/usr/local"):
        upper, work = (disk / f"{place.replace('/', '_')}{kind}" for kind in ("", ".work"))
        upper.mkdir()
        work.mkdir()
        options = f"lowerdir={place},upperdir={upper},workdir={work}"
        run("mount", "-t", "overlay", "overlay", "-o", options, place)
    for place in ("/run", "/var/lib", "/var/tmp"):  # in memory, where images are gone at once with the machine
        run("mount", "-t", "tmpfs", "-o", "size=4g", "tmpfs", place)


def join_network(address: str, gateway: str) -> None:
    """Address, the way back, and the metadata service's address."""
    for command in (
        "link set lo up",
        f"addr add {METADATA}/32 dev lo",
        f"addr add {address}/32 dev eth0",
        "link set eth0 up",
        f"route add {gateway}/32 dev eth0 src {address}",
        f"route add default via {gateway} dev eth0 src {address}",
    ):
        run("ip", *command.split())


class Metadata(BaseHTTPRequestHandler):
    """Version 2 of the metadata service: nothing without a token. What the cloud announces is in ``notices``."""

    protocol_version = "HTTP/1.1"
    identity: dict[str, Any]
    notices: Path

    def do_PUT(self) -> None:
        self.answer("token" if self.path == "/latest/api/token" else None)

    def do_GET(self) -> None:
        if self.headers.get("X-aws-ec2-metadata-token") != "token":
            self.answer(None, 401)
            return
        path = self.path.removeprefix("/latest/meta-data/").rstrip("/")
        known = {
            "instance-id": self.identity["id"],
            "iam/security-credentials": "worker",
            "iam/security-credentials/worker": json.dumps(self.identity["credentials"]),
        }
        notice = self.notices / path.replace("/", "_")
        self.answer(known.get(path) or (notice.read_text("utf-8") if notice.is_file() else None))

    def answer(self, text: str | None, missing: int = 404) -> None:
        content = (text or "").encode()
        self.send_response(missing if text is None else 200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-aws-ec2-metadata-token-ttl-seconds", "21600")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing to be read."""


def serve_metadata(identity: dict[str, Any], notices: Path) -> None:
    """Answer from now on."""
    Metadata.identity, Metadata.notices = identity, notices
    server = ThreadingHTTPServer((METADATA, 80), Metadata)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def install(folder: Path, identity: dict[str, Any]) -> None:
    """What comes with the machine's image: sshd with a key of its own, Docker's settings, programs."""
    programs = folder / "programs"
    programs.mkdir()
    for name in PLAYED:
        words = shlex.join([sys.executable, "-m", "tests.burst.programs", name])
        (programs / name).write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(REPO))} exec {words} "$@"\n', "utf-8")
        (programs / name).chmod(0o755)
    os.environ["PATH"] = f"{programs}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    os.environ["RAS_MACHINE_FOLDER"] = str(folder)
    for path in Path("/etc/ssh").glob("ssh_host_*"):
        path.unlink()
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", "/etc/ssh/ssh_host_ed25519_key")
    Path("/etc/ssh/sshd_config").write_text(SSHD, "utf-8")
    Path("/run/sshd").mkdir()
    subprocess.Popen(["/usr/sbin/sshd", "-D", "-e"], start_new_session=True)
    # no bridge, no rules: plans have no network, and nothing outside of the machine is to be touched
    docker = dict.fromkeys(("iptables", "ip6tables", "ip-forward", "ip-masq"), False)
    settings = docker | {"bridge": "none", "cgroup-parent": identity["cgroup"]}
    Path("/etc/docker").mkdir(exist_ok=True)
    Path("/etc/docker/daemon.json").write_text(json.dumps(settings), "utf-8")
    # Amazon's images have the group from their package
    subprocess.run(["groupadd", "-f", "docker"], check=True)


def first_boot(user_data: str) -> None:
    """What cloud-init does with the parts of user data that ours has; it fails on others."""
    document = yaml.safe_load(user_data)
    unknown = set(document) - {"users", "write_files", "runcmd"}
    if unknown:
        raise ValueError(f"user data has {', '.join(sorted(unknown))}, which this machine does not know")
    for user in document["users"]:
        # '*': cloud-init's lock is '!', which sshd takes for closed unless PAM answers for the account
        run("useradd", "--create-home", "--shell", user["shell"], "--password", "*", user["name"])
        keys = Path("/home", user["name"], ".ssh", "authorized_keys")
        keys.parent.mkdir(mode=0o700)
        keys.write_text("\n".join(user["ssh_authorized_keys"]) + "\n", "utf-8")
        run("chown", "-R", f"{user['name']}:", keys.parent)
    for file in document["write_files"]:
        path = Path(file["path"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file["content"], "utf-8")
        path.chmod(int(file.get("permissions", "0644"), 8))
    for command in document["runcmd"]:
        done = subprocess.run(command, check=False, shell=isinstance(command, str))
        print(f"runcmd {command}: exit code {done.returncode}", flush=True)


def boot(folder: Path) -> None:
    """All of it; the machine goes on with what was started."""
    identity = json.loads((folder / "identity.json").read_text("utf-8"))
    os.environ |= identity["environment"]
    mount(folder)
    join_network(identity["address"], identity["gateway"])
    serve_metadata(identity, folder / "notices")
    install(folder, identity)
    first_boot((folder / "user-data").read_text("utf-8"))
    threading.Event().wait()


def main() -> None:
    """The first process: it takes up what others leave behind, and ends the machine when it is told to."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        boot(Path(sys.argv[1]))
    while True:
        os.wait()  # fails, and so ends the machine, when its boot has failed and nothing runs


if __name__ == "__main__":
    main()
