"""Programs of a cloud machine that a test machine lacks: the few commands of theirs that user data uses, for real."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

UNITS = Path("/etc/systemd/system")


def aws(args: list[str]) -> None:
    """Amazon's command line: what it says and does comes from the cloud, with the machine's own rights."""
    import boto3

    region, rest = args[1], [arg for arg in args[2:] if arg != "--no-progress"]
    session = boto3.Session(region_name=region)
    match rest:
        case ["sts", "get-caller-identity", *_]:
            print(session.client("sts").get_caller_identity()["UserId"])
        case ["s3", "cp", source, target] if source.startswith("s3://"):
            session.client("s3").download_file(*source.removeprefix("s3://").split("/", 1), target)
        case ["s3", "cp", source, target]:
            session.client("s3").upload_file(source, *target.removeprefix("s3://").split("/", 1))
        case ["autoscaling", "terminate-instance-in-auto-scaling-group", "--instance-id", name, decrement]:
            fewer = decrement == "--should-decrement-desired-capacity"
            scaling = session.client("autoscaling")
            scaling.terminate_instance_in_auto_scaling_group(InstanceId=name, ShouldDecrementDesiredCapacity=fewer)
        case _:
            sys.exit(f"aws {rest}: not a command of this machine")


def dnf(args: list[str]) -> None:
    """Packages: the test machine has them, or the machine fails as it would without them."""
    if args != ["install", "-y", "docker"]:
        sys.exit(f"dnf {args}: not a command of this machine")
    subprocess.run(["dockerd", "--version"], check=True)


def logger(args: list[str]) -> None:
    """The system's log."""
    with (Path(os.environ["RAS_MACHINE_FOLDER"]) / "syslog").open("a", encoding="utf-8") as log:
        log.write(" ".join(args) + "\n")


def systemctl(args: list[str]) -> None:
    """Starts services and timers; without a file of its own, ``docker`` is what its package brings."""
    match args:
        case ["daemon-reload"]:
            return
        case ["poweroff"]:
            os.kill(1, signal.SIGTERM)
        case ["enable", "--now", *names]:
            for name in names:
                _enable(name)
        case _:
            sys.exit(f"systemctl {args}: not a command of this machine")


def _enable(name: str) -> None:
    if name in {"docker", "docker.service"}:
        _detached(["dockerd"])
        _wait_for(Path("/run/docker.sock"))
    elif name.endswith(".timer"):
        timer = _unit(name)["Timer"]
        service = _command(name.replace(".timer", ".service"))
        first, pause = (_seconds(timer[key]) for key in ("OnBootSec", "OnUnitInactiveSec"))
        _detached(["sh", "-c", f"sleep {first}; while :; do {shlex.join(service)}; sleep {pause}; done"])
    else:
        service = _unit(name if name.endswith(".service") else f"{name}.service")["Service"]
        who = ["runuser", "-u", service["User"], "--"] if "User" in service else []
        _detached([*who, *shlex.split(service["ExecStart"])])


def _unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string((UNITS / name).read_text("utf-8"))
    return parser


def _command(service: str) -> list[str]:
    return shlex.split(_unit(service)["Service"]["ExecStart"])


def _seconds(text: str) -> float:
    value, unit = re.fullmatch(r"([0-9.]+)(s|min|)", text).groups()
    return float(value) * (60 if unit == "min" else 1)


def _detached(command: list[str]) -> None:
    folder = Path(os.environ["RAS_MACHINE_FOLDER"])
    with (folder / f"{Path(command[0]).name}.log").open("ab") as log:
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)


def _wait_for(path: Path) -> None:
    end = time.monotonic() + 60
    while not path.exists():
        if time.monotonic() > end:
            sys.exit(f"{path} does not appear")
        time.sleep(0.1)


if __name__ == "__main__":
    {"aws": aws, "dnf": dnf, "logger": logger, "systemctl": systemctl}[sys.argv[1]](sys.argv[2:])
