"""A ``terraform`` for tests: does as it is told, writes down how it was called, and keeps a state as Terraform does."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: What follows is the program. It reads ``script.json``: command -> what each call of it does, one after the other;
#: a call beyond the list does what is usual.
_PROGRAM = r"""#!{python} -IS
import json, os, pathlib, signal, sys, time

here = pathlib.Path({folder!r})
argv = sys.argv[1:]
command = next(a for a in argv if not a.startswith("-"))
data = pathlib.Path(os.environ.get("TF_DATA_DIR", "."))
record = data.parent / "burst.json"
state = json.loads(record.read_text())["state"] if record.exists() else ""
call = dict(argv=argv, env=dict(os.environ), command=command, state=state)
with (here / "calls.jsonl").open("a") as log:
    log.write(json.dumps(call) + "\n")
script = json.loads((here / "script.json").read_text())
steps = script.get(command, [])
step = steps.pop(0) if steps else {{}}
(here / "script.json").write_text(json.dumps(script))


def say(**line):
    print(json.dumps(line), flush=True)


def option(name):
    return next((a.split("=", 1)[1] for a in argv if a.startswith(name + "=")), "")


def state_path():
    return pathlib.Path((data / "backend").read_text())


def write(resources, outputs):
    kept = [dict(mode="managed", type=n.split(".")[0], name=n.split(".")[1], instances=[dict()]) for n in resources]
    state_path().write_text(json.dumps(dict(version=4, resources=kept, outputs=outputs)))


def done(address, action):
    resource = dict(addr="module.workers." + address)
    say(type="apply_complete", hook=dict(resource=resource, action=action, elapsed_seconds=1))


MADE = ["aws_s3_bucket.staging", "aws_autoscaling_group.workers"]
if "wait" in step:
    def stop(number, frame):
        (here / "interrupted").open("a").write("x")
        if step["wait"] != "deaf":
            write(MADE[:1], {{}})
            say(type="diagnostic", diagnostic=dict(severity="error", summary="execution halted", detail=""))
            sys.exit(1)
    signal.signal(signal.SIGINT, stop)
    (here / "waiting").write_text(str(os.getpid()))
    while not (here / "go on").exists():
        time.sleep(0.02)
if "print" in step:
    print(step["print"], flush=True)
if "error" in step:
    if command == "apply":
        write(MADE[:1], {{}})
        done(MADE[0], "create")
    say(type="diagnostic", diagnostic=dict(severity="error", summary=step["error"], detail=step.get("detail", ""),
        address="module.workers.aws_autoscaling_group.workers"))
if "code" in step or "error" in step:
    sys.exit(step.get("code", 1))
if command == "version":
    print(json.dumps(dict(terraform_version=step.get("version", "1.9.5"))))
elif command == "init":
    data.mkdir(exist_ok=True)
    (data / "backend").write_text(option("-backend-config").split("=", 1)[1])
elif command == "plan":
    pathlib.Path(option("-out")).write_text(option("-var-file"))
elif command == "apply":
    values = json.loads(pathlib.Path(pathlib.Path(argv[-1]).read_text()).read_text())
    for address in MADE:
        done(address, "create")
    name, tags = values["name"], dict({{"ras-runner:launch-token": values["launch_token"]}})
    found = dict(group=script.get("group", name), staging_bucket=script["bucket"])
    found |= dict(host_key_prefix="campaigns/c/hosts/AROA:", tags=tags)
    write(MADE, dict((k, dict(value=v)) for k, v in found.items()))
elif command == "destroy":
    for address in MADE:
        done(address, "delete")
    write([], {{}})
elif command == "output":
    print(json.dumps(json.loads(state_path().read_text())["outputs"]))
"""


@dataclass(frozen=True)
class FakeTerraform:
    """The program in a folder of its own.

    Attributes:
        folder: holds ``bin/terraform`` and what is known of its calls.
    """

    folder: Path

    @property
    def path(self) -> Path:
        """The folder for PATH."""
        return self.folder / "bin"

    def install(self, **steps: Any) -> None:
        """Write the program; ``steps`` as ``script.json`` has them."""
        self.path.mkdir(parents=True, exist_ok=True)
        program = self.path / "terraform"
        program.write_text(_PROGRAM.format(python=sys.executable, folder=str(self.folder)), encoding="utf-8")
        program.chmod(0o755)
        self.script(**steps)

    def script(self, **steps: Any) -> None:
        """What the next calls do."""
        (self.folder / "script.json").write_text(json.dumps({"bucket": "a-bucket", **steps}), encoding="utf-8")

    def calls(self, command: str = "") -> list[dict[str, Any]]:
        """How it was called: argv, env, command."""
        path = self.folder / "calls.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        found = [json.loads(line) for line in lines]
        return [call for call in found if call["command"] in (command, *([] if command else [call["command"]]))]

    def commands(self) -> list[str]:
        """The commands that it was given."""
        return [call["command"] for call in self.calls() if call["command"] != "version"]

    def environment(self) -> dict[str, str]:
        """Variables that have it found."""
        return {"PATH": f"{self.path}{os.pathsep}{os.environ['PATH']}"}
