"""What machines are told at their first boot: cloud-init's schema, PowerShell's grammar, and the scripts themselves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import tree_sitter
import tree_sitter_powershell
import yaml
from tests.services import not_here
from tests.terraform.program import CACHE, CODE, TerraformUnavailable, render

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the scripts are for Linux machines")
CLOUDS = ("aws", "azure")
EXPIRES = "2026-08-01T18:00:00Z"
EXPIRY = 1785607200
BEFORE = EXPIRY - 60
VALUES: dict[str, object] = {
    "expires": EXPIRES,
    "idle_seconds": 900,
    "idle_minutes": 15,
    "region": "us-east-1",
    "bucket": "staging",
    "hosts": "campaigns/c-1/hosts",
    "endpoint": "https://staging.blob.core.windows.net/",
    "archive": "images/worker.tar.gz",
    "image": "hecras:6.6",
    "worker_folder": "/var/lib/ras-runner/worker",
    "ssh_public_key": "ssh-ed25519 AAAA me@office",
}
#: Programs that the scripts call; each notes its command line in calls.log and does what the file of its name in
#: answers/ says: what it prints, and its exit code.
FAKE = """#!/bin/sh
name=${0##*/}
echo "$name $*" >>"$FAKE_FOLDER/calls.log"
[ "$name" = timeout ] && { shift; exec "$@"; }
case "$name $*" in "curl "*"-K -"*) cat >>"$FAKE_FOLDER/stdin.log" ;; esac
for rule in "$FAKE_FOLDER/answers/$name."*; do
  [ -e "$rule" ] || continue
  pattern=$(sed -n 1p "$rule")
  case "$name $*" in *"$pattern"*) sed -n '3,$p' "$rule"; exit "$(sed -n 2p "$rule")" ;; esac
done
"""


@dataclass
class Machine:
    """A machine whose programs are fakes; its marks and its worker folder are below a test's folder."""

    folder: Path
    template: Callable[..., str]

    def __post_init__(self) -> None:
        self.worker, self.mark = self.folder / "worker", self.folder / "busy"
        for name in ("worker", "answers", "bin"):
            (self.folder / name).mkdir()
        for name in ("aws", "curl", "date", "docker", "logger", "python3", "rm", "sleep", "systemctl", "timeout"):
            fake = self.folder / "bin" / name
            fake.write_text(FAKE, encoding="utf-8")
            fake.chmod(0o755)
        self.answer("date", "+%s", str(BEFORE))
        self.answer("date", f"-d {EXPIRES}", str(EXPIRY))
        self.answer("curl", "instance-id", "i-1")
        self.answer("curl", "resourceId", "/subscriptions/s/vm")
        self.answer("curl", "compute/name", "ras_1")
        self.answer("curl", "hosts/", "201")
        self.answer("python3", "", "secret-token")
        self.answer("aws", "get-caller-identity", "AROA:i-1")

    def answer(self, program: str, pattern: str, says: str = "", code: int = 0) -> None:
        """What a program says when its command line holds ``pattern``; the latest rule for it holds."""
        answers = self.folder / "answers"
        # the shell takes them by name: the latest has to come first
        (answers / f"{program}.{9999 - len(list(answers.iterdir()))}").write_text(
            f"{pattern}\n{code}\n{says}", encoding="utf-8"
        )

    def run(self, script: str) -> list[str]:
        """Run a script of the first boot; returns the command lines of the programs that it called."""
        text = self.template(script, {**VALUES, "worker_folder": str(self.worker)})
        path = self.folder / script
        path.write_text(text.replace("/run/ras-runner-busy", str(self.mark)), encoding="utf-8")
        self.calls.unlink(missing_ok=True)
        self.code = subprocess.run(
            ["sh", path],
            env={"PATH": f"{self.folder / 'bin'}:{os.defpath}", "FAKE_FOLDER": str(self.folder)},
            timeout=60,
            check=False,
        ).returncode
        return self.calls.read_text(encoding="utf-8").splitlines()

    @property
    def calls(self) -> Path:
        return self.folder / "calls.log"

    def last_plan(self, seconds: float) -> None:
        """The last plan was so long ago."""
        self.mark.touch()
        os.utime(self.mark, (BEFORE - seconds, BEFORE - seconds))
        os.utime(self.worker, (BEFORE - seconds - 60, BEFORE - seconds - 60))


@pytest.fixture
def template(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[..., str]:
    """Renders a template of the cloud that the test is about."""
    cloud, empty = request.getfixturevalue("cloud"), tmp_path / "empty"
    empty.mkdir()

    def rendered(name: str, values: dict[str, object]) -> str:
        path = CODE / "modules" / f"{cloud}_workers" / "templates" / f"{name}.tftpl"
        try:
            return render(path, values, empty)
        except TerraformUnavailable as reason:
            not_here(reason)

    return rendered


@pytest.fixture
def machine(tmp_path: Path, template: Callable[..., str]) -> Machine:
    """A machine that was busy until now."""
    folder = tmp_path / "machine"
    folder.mkdir()
    made = Machine(folder, template)
    made.last_plan(0)
    return made


def ends(cloud: str, calls: list[str]) -> bool:
    """Whether the machine asked the cloud to end it, and how."""
    if cloud == "azure":
        return any("-X DELETE https://management.azure.com/subscriptions/s/vm?api-version=" in call for call in calls)
    group = [i for i, call in enumerate(calls) if call.startswith("aws ") and "terminate-instance-in-auto" in call]
    power = [i for i, call in enumerate(calls) if call == "systemctl poweroff"]
    if not power:
        assert not group
        return False
    assert group and group[-1] < power[0], "out of the group first, or it puts another in this one's place"
    assert "--instance-id i-1 --should-decrement-desired-capacity" in calls[group[0]]
    return True


@pytest.mark.parametrize("cloud", CLOUDS)
class TestEndOfAMachine:
    def test_goes_on_before_its_time_while_it_was_busy_a_moment_ago(self, machine: Machine, cloud: str) -> None:
        machine.last_plan(899)
        assert not ends(cloud, machine.run("end-worker.sh"))

    def test_ends_when_idle(self, machine: Machine, cloud: str) -> None:
        machine.last_plan(900)
        assert ends(cloud, machine.run("end-worker.sh"))

    def test_goes_on_while_a_container_runs(self, machine: Machine, cloud: str) -> None:
        machine.last_plan(9000)
        machine.answer("docker", "ps -q --filter label=ras-runner.attempt", "0123abcd")
        assert not ends(cloud, machine.run("end-worker.sh"))

    def test_goes_on_while_files_are_put_there(self, machine: Machine, cloud: str) -> None:
        machine.last_plan(9000)
        (machine.worker / "terrain.part").touch()
        assert not ends(cloud, machine.run("end-worker.sh"))

    def test_ends_at_its_expiry_even_while_a_container_runs(self, machine: Machine, cloud: str) -> None:
        machine.answer("docker", "ps -q", "0123abcd")
        machine.answer("date", "+%s", str(EXPIRY))
        assert ends(cloud, machine.run("end-worker.sh"))

    def test_ends_though_the_cloud_does_not_answer(self, machine: Machine, cloud: str) -> None:
        machine.answer("date", "+%s", str(EXPIRY))
        machine.answer("curl", "", "", code=28)
        machine.answer("curl", "169.254.169.254", "", code=28)
        machine.answer("aws", "terminate-instance-in-auto", "", code=255)
        calls = machine.run("end-worker.sh")
        if cloud == "aws":
            assert len([call for call in calls if call.startswith("aws ")]) == 3
            assert calls[-1] == "systemctl poweroff"
        else:  # a machine that is only shut down is paid for: the timer tries again
            assert not any(call.startswith("systemctl") for call in calls)

    def test_clock_starts_with_the_boot(self, machine: Machine, cloud: str) -> None:
        machine.mark.unlink()
        machine.run("end-worker.sh")
        assert machine.mark.exists()


def test_date_of_linux_reads_the_expiry() -> None:
    said = subprocess.run(["date", "-d", EXPIRES, "+%s"], capture_output=True, encoding="utf-8", check=True).stdout
    assert int(said) == EXPIRY


@pytest.mark.parametrize("cloud", CLOUDS)
class TestImageOfAMachine:
    def test_tells_its_host_key_and_loads_the_image(self, machine: Machine, cloud: str) -> None:
        calls = machine.run("load-image.sh")
        key, image = {
            "aws": (
                "s3 cp /etc/ssh/ssh_host_ed25519_key.pub s3://staging/campaigns/c-1/hosts/AROA:i-1.pub",
                "s3://staging/images/worker.tar.gz /var/tmp/ras-runner-image",
            ),
            "azure": ("hosts/ras_1.pub", "-o /var/tmp/ras-runner-image https://staging.blob.core.windows.net/images/"),
        }[cloud]
        order = [next(i for i, call in enumerate(calls) if text in call) for text in (key, image, "docker load -i")]
        assert order == sorted(order)
        assert machine.code == 0
        if cloud == "azure":
            assert "Authorization: Bearer secret-token" in (machine.folder / "stdin.log").read_text(encoding="utf-8")
            assert not any("secret-token" in call for call in calls), "what is in a command line, everybody sees"

    def test_waits_until_the_image_is_there_and_then_gives_up(self, machine: Machine, cloud: str) -> None:
        machine.answer("docker", "load", "", code=1)
        calls = machine.run("load-image.sh")
        assert machine.code == 1
        assert len([call for call in calls if call.startswith("docker load")]) == 120
        assert "could not be loaded" in calls[-1]

    def test_goes_on_without_a_host_key_and_says_so(self, machine: Machine, cloud: str) -> None:
        machine.answer("aws", "get-caller-identity", "", code=255)
        machine.answer("curl", "hosts/", "403")
        calls = machine.run("load-image.sh")
        assert any(call.startswith("logger") and "host key" in call for call in calls)
        assert any(call.startswith("docker load") for call in calls)


def schema() -> Any:
    """cloud-init's own schema of user data."""
    found = sorted((CACHE / "cloud-init").rglob("schema-cloud-config-v1.json"))
    if not found:
        not_here("cloud-init's schema is not there: run tests/install-services.sh terraform")
    return json.loads(found[0].read_text(encoding="utf-8"))


def cloud_config_errors(document: object) -> list[str]:
    """What cloud-init would not take. Its schema takes unknown keys at the top: those are looked for here."""
    known = schema()
    modules = [part for name, part in known["$defs"].items() if name.startswith("cc_")]
    keys = {key for part in modules for key in part.get("properties", {})} | set(known.get("properties", {}))
    errors = [error.message for error in jsonschema.Draft4Validator(known).iter_errors(document)]
    return errors + [f"unknown: {key}" for key in document if key not in keys]  # type: ignore[attr-defined]


@pytest.mark.parametrize("cloud", CLOUDS)
def test_user_data_is_what_cloud_init_takes(template: Callable[..., str], cloud: str) -> None:
    scripts = {name: template(f"{file}.sh", VALUES) for name, file in SCRIPTS.items()}
    text = template("worker.yaml", VALUES | scripts)
    document = yaml.safe_load(text)

    assert text.startswith("#cloud-config\n")
    assert cloud_config_errors(document) == []
    files = {entry["path"]: entry for entry in document["write_files"]}
    assert files["/usr/local/sbin/ras-runner-end"]["content"] == scripts["end_worker"]
    assert files["/usr/local/sbin/ras-runner-load-image"]["content"] == scripts["load_image"]
    assert document["runcmd"][1][:3] == ["systemctl", "enable", "--now"], "its end is armed before anything can fail"


SCRIPTS = {"end_worker": "end-worker", "load_image": "load-image", "tell_notice": "tell-notice"}


def test_cloud_init_check_refuses_what_is_wrong() -> None:
    assert cloud_config_errors({"runcmd": [{"a": 1}], "usres": []}) != []
    assert cloud_config_errors({"usres": []}) == ["unknown: usres"]
    assert len(cloud_config_errors({"write_files": "x"})) == 1


def powershell_errors(text: str) -> list[str]:
    """What is no PowerShell."""
    tree = tree_sitter.Parser(tree_sitter.Language(tree_sitter_powershell.language())).parse(text.encode())

    def walk(node: tree_sitter.Node) -> list[str]:
        own = [f"line {node.start_point.row + 1}"] if node.is_error or node.is_missing else []
        return own + [error for child in node.children for error in walk(child)]

    return walk(tree.root_node)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_windows_script_is_powershell(template: Callable[..., str], cloud: str) -> None:
    text = template("worker.ps1", VALUES | {"worker_folder": "C:\\RasRemote"})
    if cloud == "aws":
        assert text.startswith("<powershell>\n")
        assert text.endswith("</powershell>\n")
        text = text.removeprefix("<powershell>\n").removesuffix("</powershell>\n")
    inner = [part.partition("\n'@\n")[0] for part in text.split(" = @'\n")[1:]]

    assert powershell_errors(text) == []
    assert [powershell_errors(script) for script in inner] == [[]] * len(inner)
    assert EXPIRES in inner[0]
    assert {"aws": "spot/instance-action", "azure": "scheduledevents"}[cloud] in inner[1]
    assert cloud != "aws" or len(text) < 16 * 1024, "more than EC2 takes"
    assert powershell_errors("if ($x { }") != []
