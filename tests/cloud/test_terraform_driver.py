"""Terraform as ras-runner drives it: found, told what, heard, interrupted."""

from __future__ import annotations

import _thread
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cloud.fake_terraform import FakeTerraform
from tests.commands import wait_until

from ras_runner.errors import InputError, OperatorError
from ras_runner.fleet.terraform import Terraform, find_code, find_program
from ras_runner.fleet.terraform_log import TerraformLog, action_for, plain, problem_of

VALUES = {"name": "ras-1", "launch_token": "token-of-this-test"}


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeTerraform:
    made = FakeTerraform(tmp_path / "fake")
    made.install()
    monkeypatch.setenv("PATH", made.environment()["PATH"])
    monkeypatch.delenv("RAS_RUNNER_TERRAFORM", raising=False)
    return made


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def driver(fake: FakeTerraform, tmp_path: Path, said: list[str]) -> Terraform:
    folder = tmp_path / "burst one"
    folder.mkdir()
    cache = {"TF_PLUGIN_CACHE_DIR": str(tmp_path / "cache")}
    return Terraform(folder, "aws", find_program(), said.append, environment=cache)


def test_a_life_from_nothing_to_nothing(driver: Terraform, fake: FakeTerraform, said: list[str]) -> None:
    driver.lay_out(VALUES)
    driver.init()
    driver.plan()
    driver.apply()

    assert driver.outputs()["group"] == "ras-1"
    assert driver.state.launch_token() == "token-of-this-test"
    assert driver.state.left() == ["aws_autoscaling_group.workers", "aws_s3_bucket.staging"]
    driver.destroy()
    assert driver.state.left() == []
    assert fake.commands() == ["init", "plan", "apply", "output", "destroy"]
    assert said == [
        "made aws_s3_bucket.staging (1 s)",
        "made aws_autoscaling_group.workers (1 s)",
        "removed aws_s3_bucket.staging (1 s)",
        "removed aws_autoscaling_group.workers (1 s)",
    ]
    for call in fake.calls()[1:]:
        assert call["argv"][0] == f"-chdir={driver.folder / 'terraform' / 'aws'}"
        assert call["env"]["TF_DATA_DIR"] == str(driver.folder / "data")
        assert "token-of-this-test" not in " ".join(call["argv"]), "values belong into the file"
    for command in ("plan", "destroy"):
        [call] = fake.calls(command)
        assert {"-input=false", "-no-color", "-json", "-lock-timeout=60s"} <= set(call["argv"])
    assert (driver.folder / "variables.tfvars.json").stat().st_mode & 0o777 == 0o600
    assert (driver.folder / "terraform" / "modules" / "aws_workers" / "main.tf").is_file()


def test_the_users_own_terraform_settings_do_not_get_in(
    driver: Terraform, fake: FakeTerraform, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TF_VAR_workers", "TF_CLI_ARGS_destroy", "TF_WORKSPACE"):
        monkeypatch.setenv(name, "99")
    monkeypatch.setenv("TF_CLI_CONFIG_FILE", os.devnull)
    driver.lay_out(VALUES)
    driver.init()

    [call] = fake.calls("init")
    assert not {"TF_VAR_workers", "TF_CLI_ARGS_destroy", "TF_WORKSPACE"} & set(call["env"])
    assert call["env"]["TF_CLI_CONFIG_FILE"] == os.devnull, "a mirror of providers is the user's to name"


def test_code_of_a_burst_stays_as_it_was(driver: Terraform, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    driver.lay_out(VALUES)
    monkeypatch.setenv("RAS_RUNNER_TERRAFORM_FOLDER", str(tmp_path / "another version"))
    driver.lay_out({**VALUES, "workers": 2})

    assert (driver.folder / "terraform" / "aws" / "main.tf").is_file()
    assert json.loads((driver.folder / "variables.tfvars.json").read_text())["workers"] == 2
    with pytest.raises(OperatorError, match="another version"):
        find_code("aws")


def test_missing_terraform_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("RAS_RUNNER_TERRAFORM", raising=False)
    with pytest.raises(OperatorError, match="neither terraform nor tofu") as caught:
        find_program()
    assert "developer.hashicorp.com" in caught.value.action
    monkeypatch.setenv("RAS_RUNNER_TERRAFORM", str(tmp_path / "tofu"))
    with pytest.raises(OperatorError, match="RAS_RUNNER_TERRAFORM"):
        find_program()


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        ({"version": "1.6.6"}, "is version 1.6.6, and 1.7 or later"),
        ({"print": "no terraform at all"}, "does not say its version"),
        ({"print": "[]", "code": 0}, "does not say its version"),
    ],
)
def test_wrong_terraform_is_refused(fake: FakeTerraform, step: dict[str, object], problem: str) -> None:
    fake.script(version=[step])
    with pytest.raises(OperatorError, match=problem):
        find_program()


def test_tofu_is_taken_where_terraform_is_not(fake: FakeTerraform, monkeypatch: pytest.MonkeyPatch) -> None:
    (fake.path / "terraform").rename(fake.path / "tofu")
    monkeypatch.setenv("PATH", str(fake.path))
    assert find_program().path == str(fake.path / "tofu")


def test_error_is_one_paragraph_and_the_log_has_all(driver: Terraform, fake: FakeTerraform) -> None:
    noise = "\x1b[31mred\x1b[0m \x07 " + "x" * 5000
    fake.script(apply=[{"error": "creating Auto Scaling Group", "detail": f"AccessDenied: {noise}"}])
    driver.lay_out(VALUES)
    driver.init()
    driver.plan()
    with pytest.raises(OperatorError) as caught:
        driver.apply()

    cause = caught.value.cause
    assert cause.startswith("terraform apply failed: creating Auto Scaling Group: AccessDenied: red xxx")
    assert cause.endswith("... (aws_autoscaling_group.workers)")
    assert len(cause) < 600
    assert cause.isprintable()
    assert "right" in caught.value.action
    assert "x" * 5000 in Path(caught.value.log).read_text(encoding="utf-8")


def test_errors_of_init_are_plain_text(driver: Terraform, fake: FakeTerraform) -> None:
    text = "Initializing...\n\x1b[31m╷\n│ Error: Failed to query available provider packages\n│ \n│ Could not reach\n╵"
    fake.script(init=[{"print": text, "code": 1}])
    driver.lay_out(VALUES)
    with pytest.raises(OperatorError, match="query available provider packages Could not reach") as caught:
        driver.init()
    assert "registry.terraform.io" in caught.value.action


def test_interrupt_is_passed_on_once_and_raised_when_terraform_has_ended(
    driver: Terraform, fake: FakeTerraform
) -> None:
    fake.script(apply=[{"wait": "polite"}])
    driver.lay_out(VALUES)
    driver.init()
    driver.plan()
    _then(fake, _thread.interrupt_main)
    with pytest.raises(KeyboardInterrupt):
        driver.apply()

    assert (fake.folder / "interrupted").read_text() == "x"
    assert driver.state.left() == ["aws_s3_bucket.staging"], "the state is written"


def test_terraform_that_does_not_end_is_ended(driver: Terraform, fake: FakeTerraform) -> None:
    driver.grace = 0.2
    fake.script(init=[{"wait": "deaf"}])
    driver.lay_out(VALUES)
    _then(fake, _thread.interrupt_main)
    with pytest.raises(KeyboardInterrupt):
        driver.init()
    assert (fake.folder / "interrupted").read_text() == "x"


def test_terraform_that_takes_too_long_is_stopped(driver: Terraform, fake: FakeTerraform) -> None:
    driver.limit = 0.5
    fake.script(plan=[{"wait": "polite"}])
    driver.lay_out(VALUES)
    driver.init()
    with pytest.raises(OperatorError, match="not done after"):
        driver.plan()


def test_broken_state_is_told(driver: Terraform) -> None:
    (driver.folder / "terraform.tfstate").write_text("<html>", encoding="utf-8")
    with pytest.raises(InputError, match=r"is no state of Terraform"):
        driver.state.left()


def test_what_takes_long_is_told_now_and_then() -> None:
    log = TerraformLog()
    hook = {"resource": {"addr": "module.w.aws_s3_bucket.b"}, "action": "create"}
    lines = [json.dumps({"type": "apply_progress", "hook": {**hook, "elapsed_seconds": s}}) for s in range(10, 131, 10)]
    assert [line for line in map(log.hear, lines) if line] == [
        "still making aws_s3_bucket.b (60 s)",
        "still making aws_s3_bucket.b (120 s)",
    ]


@pytest.mark.parametrize("line", ["", "null", "[1]", '{"type": "diagnostic"}', '{"hook": 3}', '{"hook": {}}', "\x00{"])
def test_odd_lines_are_no_trouble(line: str) -> None:
    assert TerraformLog().hear(line) == ""


def test_many_errors_are_counted() -> None:
    log = TerraformLog()
    for number in range(7):
        text = {
            "type": "diagnostic",
            "diagnostic": {"severity": "error", "summary": f"no {number % 5}", "detail": None},
        }
        log.hear(json.dumps(text))
    assert log.problem() == "no 0; no 1; no 2; and 2 more"
    assert problem_of([]) == "it did not say why"
    assert problem_of(["panic: runtime error"]) == "panic: runtime error"
    assert plain("a\u202eb\tc") == "a b c"
    assert "log on" in action_for("operation error STS: ExpiredToken: the token")


def _then(fake: FakeTerraform, act: Callable[[], None]) -> None:
    """Act as soon as the fake waits."""

    def watch() -> None:
        wait_until((fake.folder / "waiting").exists, "terraform waits", 20)
        act()

    threading.Thread(target=watch, daemon=True).start()


def test_installed_package_has_the_terraform_code(tmp_path: Path) -> None:
    repo = Path(__file__).resolve().parents[2]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", str(tmp_path / "lib"), str(repo)], check=True, timeout=120)
    program = "from ras_runner.fleet.terraform import find_code; print(find_code('aws'), find_code('azure'))"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "lib")}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    place = tmp_path / "lib" / "ras_runner" / "terraform"
    assert done.stdout.split() == [str(place), str(place)]
    assert (place / "aws" / ".terraform.lock.hcl").is_file()
    assert (place / "modules" / "aws_workers" / "templates" / "worker.yaml.tftpl").is_file()
