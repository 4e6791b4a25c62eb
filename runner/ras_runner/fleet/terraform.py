"""Drives Terraform, or OpenTofu, for one burst: a folder with its own copy of the code, state, plugins and log."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import shutil
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ras_runner import oscalls
from ras_runner.errors import InputError, OperatorError
from ras_runner.fleet.terraform_log import TerraformLog, action_for, plain, problem_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

#: Environment variables: the program, and a folder to use in place of the ``terraform`` that comes with ras-runner.
PROGRAM_VARIABLE, CODE_VARIABLE = "RAS_RUNNER_TERRAFORM", "RAS_RUNNER_TERRAFORM_FOLDER"
OLDEST = (1, 7)
_NAMES = ("terraform", "tofu")
_INSTALL = (
    "install Terraform 1.7 or later (https://developer.hashicorp.com/terraform/install) or OpenTofu "
    f"(https://opentofu.org/docs/intro/install), or name it in {PROGRAM_VARIABLE}"
)
_STEP = "run terraform"
#: What it takes at most, seconds; then it is asked to end, and after the grace it is ended.
_LIMIT, _GRACE = 3600.0, 300.0
_LOCK_TIMEOUT = "60s"
#: Variables of the user's own Terraform work, which are not for this one.
_NOT_OURS = re.compile(r"TF_(VAR_.*|CLI_ARGS.*|WORKSPACE|DATA_DIR|INPUT|LOG_PATH)")


@dataclass(frozen=True, slots=True)
class Program:
    """A Terraform that can be used.

    Attributes:
        path: of the program.
        version: such as ``1.11.4``.
    """

    path: str
    version: str


def find_program() -> Program:
    """Terraform or OpenTofu, its version checked.

    Raises:
        OperatorError: there is none, it does not run, or it is too old; says how to install it.
    """
    named = os.environ.get(PROGRAM_VARIABLE, "")
    found = next(filter(None, map(shutil.which, [named] if named else _NAMES)), None)
    if found is None:
        where = f"{named} ({PROGRAM_VARIABLE}) is no program" if named else "neither terraform nor tofu is in PATH"
        raise OperatorError(where, step="find terraform", action=_INSTALL)
    try:
        done = subprocess.run(
            [found, "version", "-json"],
            env={**_environment(), "CHECKPOINT_DISABLE": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=60,
            check=False,
        )
        version = str(json.loads(done.stdout)["terraform_version"])
        numbers = tuple(int(part) for part in re.match(r"(\d+)\.(\d+)", version).groups())  # type: ignore[union-attr]
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, TypeError, AttributeError) as error:
        raise OperatorError(
            f"{found} does not say its version: {plain(error)}", step="find terraform", action=_INSTALL
        ) from None
    if numbers < OLDEST:
        raise OperatorError(
            f"{found} is version {version}, and 1.7 or later is needed", step="find terraform", action=_INSTALL
        )
    return Program(found, version)


def find_code(cloud: str) -> Path:
    """The folder that holds the root of a cloud and ``modules``: named by the user, of the checkout, or installed.

    Raises:
        OperatorError: it is not there.
    """
    named = os.environ.get(CODE_VARIABLE, "")
    package = Path(__file__).resolve().parents[1]
    places = [Path(named).absolute()] if named else [package / "terraform", package.parents[1] / "terraform"]
    for place in places:
        if (place / cloud / "main.tf").is_file() and (place / "modules").is_dir():
            return place
    raise OperatorError(
        f"there is no {cloud}/main.tf and modules in {' or '.join(map(str, places))}",
        step="find terraform",
        action=f"correct {CODE_VARIABLE}" if named else "pip install --force-reinstall ras-runner",
    )


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not _NOT_OURS.fullmatch(name)}


@dataclass(frozen=True)
class TerraformState:
    """The state of a burst as it lies on the disk.

    Attributes:
        path: of the file.

    Every method raises InputError when it cannot be read.
    """

    path: Path

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            if isinstance(found, dict):
                return found
        except FileNotFoundError:
            return {}
        except (OSError, ValueError):
            pass
        raise InputError(
            f"{self.path} is no state of Terraform",
            step="read state",
            action=f"put {self.path.name}.backup in its place, or remove what there is by its tags: ras-runner burst "
            "sweep",
        )

    def left(self) -> list[str]:
        """Addresses of the resources that it still has."""
        found = [r for r in self._read().get("resources", []) if r.get("mode") == "managed" and r.get("instances")]
        return sorted(f"{r['type']}.{r['name']}" for r in found)

    def launch_token(self) -> str:
        """Whose it is, by the tags among its outputs; empty when that is not known."""
        tags = self._read().get("outputs", {}).get("tags", {}).get("value", {})
        return str(tags.get("ras-runner:launch-token", "")) if isinstance(tags, dict) else ""


@dataclass
class Terraform:
    """Terraform for one burst.

    A command may be interrupted by KeyboardInterrupt: it is passed on, so that Terraform writes its state and unlocks
    it, and raised when Terraform has ended.

    Attributes:
        folder: the burst's own.
        cloud: name of the root.
        program: that runs.
        say: takes a line for the user.
        limit: seconds that one command may take.
        grace: seconds that it gets to end in when it is interrupted.
        environment: added to this process's own.
    """

    folder: Path
    cloud: str
    program: Program
    say: Callable[[str], None]
    limit: float = _LIMIT
    grace: float = _GRACE
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        """All that Terraform has said for this burst."""
        return self.folder / "terraform.log"

    @property
    def state(self) -> TerraformState:
        """What it has made."""
        return TerraformState(self.folder / "terraform.tfstate")

    @property
    def _variables(self) -> Path:
        return self.folder / "variables.tfvars.json"

    def lay_out(self, variables: Mapping[str, Any]) -> None:
        """Write the variables, and the code that the burst keeps to its end, whatever version is installed then."""
        code = self.folder / "terraform"
        if not code.exists():
            source, copy = find_code(self.cloud), self.folder / "terraform.new"
            shutil.rmtree(copy, ignore_errors=True)
            unwanted = shutil.ignore_patterns(".terraform", "*.tfstate*", "tests", "*.tfvars*")
            for part in (self.cloud, "modules"):
                shutil.copytree(source / part, copy / part, ignore=unwanted)
            copy.rename(code)
        oscalls.write_whole(self._variables, json.dumps(variables, indent=1))

    def init(self) -> None:
        """Get the provider, from the shared cache where it is there."""
        cache = Path(self._env()["TF_PLUGIN_CACHE_DIR"])
        cache.mkdir(parents=True, exist_ok=True)
        # Terraform's own cache takes no two at once
        with oscalls.FileLock(cache / "ras-runner.lock").held(self.limit):
            self._run("init", f"-backend-config=path={self.state.path}", json_lines=False)

    def plan(self) -> None:
        """Work out what is to be made, and ask the cloud all that can be asked before anything is bought."""
        wanted = ["-json", f"-lock-timeout={_LOCK_TIMEOUT}", f"-var-file={self._variables}"]
        self._run("plan", *wanted, f"-out={self.folder / 'burst.plan'}")

    def apply(self) -> None:
        """Make what was planned."""
        self._run("apply", "-json", f"-lock-timeout={_LOCK_TIMEOUT}", str(self.folder / "burst.plan"))

    def destroy(self) -> None:
        """Remove all that the state has."""
        wanted = ["-json", "-auto-approve", f"-lock-timeout={_LOCK_TIMEOUT}", f"-var-file={self._variables}"]
        self._run("destroy", *wanted)

    def outputs(self) -> dict[str, Any]:
        """The root's outputs, by name."""
        said = self._run("output", "-json", json_lines=False, quiet=True)
        try:  # warnings may come before it
            found, _ = json.JSONDecoder().raw_decode(said, said.index("{"))
            return {name: output["value"] for name, output in found.items()}
        except (ValueError, KeyError, TypeError):
            raise OperatorError(
                f"{self.program.path} output -json printed no outputs: {plain(said)}", step=_STEP, log=str(self.log)
            ) from None

    def _env(self) -> dict[str, str]:
        import platformdirs

        cache = Path(platformdirs.user_cache_dir("ras-runner", appauthor=False)) / "terraform-plugins"
        ours = {
            "TF_DATA_DIR": str(self.folder / "data"),
            "TF_IN_AUTOMATION": "1",
            "TF_INPUT": "0",
            "CHECKPOINT_DISABLE": "1",
            **self.environment,
        }
        return {"TF_PLUGIN_CACHE_DIR": str(cache), **_environment(), **ours}

    def _run(self, command: str, *args: str, json_lines: bool = True, quiet: bool = False) -> str:
        """Run a command to its end and return what it printed."""
        no_input = ["-input=false"] if command in ("init", "plan", "apply", "destroy") else []
        place = f"-chdir={self.folder / 'terraform' / self.cloud}"
        color = [] if command == "output" else ["-no-color"]
        argv = [self.program.path, place, command, *color, *no_input, *args]
        heard, lines = TerraformLog(), list[str]()
        with self.log.open("a", encoding="utf-8", errors="replace") as log:
            log.write(f"# {time.strftime('%Y-%m-%d %H:%M:%S')} {command}\n")

            def hear(line: str) -> None:
                lines.append(line)
                if not quiet:
                    log.write(line)
                    log.flush()
                if json_lines and (sentence := heard.hear(line)):
                    self.say(sentence)

            running = _Running(argv, self.folder, self._env(), self.limit, self.grace)
            code = running.follow(hear)
        if running.interrupted:
            raise KeyboardInterrupt
        if code or running.overdue:
            self._fail(command, heard.problem() if json_lines else problem_of(lines), overdue=running.overdue)
        return "".join(lines)

    def _fail(self, command: str, problem: str, *, overdue: bool) -> NoReturn:
        if overdue:
            problem = f"it was not done after {self.limit:.0f} s and was stopped"
        raise OperatorError(
            f"terraform {command} failed: {problem}",
            step=_STEP,
            action=action_for(problem) or "put right what the log says, then the same command again",
            log=str(self.log),
        )


class _Running:
    """A program whose output is read by a thread, so that Ctrl-C and the time limit are seen at once."""

    def __init__(
        self, argv: Sequence[str], folder: Path, environment: Mapping[str, str], limit: float, grace: float
    ) -> None:
        self.interrupted = self.overdue = self._asked = False
        self._grace, self._end = grace, time.monotonic() + limit
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        try:
            self._process = oscalls.start_apart(argv, folder=folder, environment=environment)
        except OSError as error:
            raise OperatorError(f"{argv[0]} cannot be started: {error}", step=_STEP, action=_INSTALL) from None
        threading.Thread(target=self._read, name="terraform", daemon=True).start()

    def _read(self) -> None:
        if self._process.stdout is not None:
            with contextlib.suppress(ValueError, OSError):
                for line in self._process.stdout:
                    self._lines.put(line)
        self._lines.put(None)

    def follow(self, hear: Callable[[str], None]) -> int:
        """Listen to its end; ask it to end when the user interrupts or its time is over, and end it after the grace."""
        try:
            while True:
                try:
                    return self._listen(hear)
                except KeyboardInterrupt:  # a second one passed on would make it leave without unlocking
                    self.interrupted = True
                    self._ask_to_end()
        finally:
            if self._process.poll() is None:  # what was to be heard could not be written, for one
                self._ask_to_end()

    def _listen(self, hear: Callable[[str], None]) -> int:
        while self._turn(hear):
            pass
        return self._process.wait()

    def _turn(self, hear: Callable[[str], None]) -> bool:
        """Hear a line, if there is one; False when there are no more."""
        left = self._end - time.monotonic()
        if left <= 0 and self._asked:
            oscalls.end_apart(self._process)
            self._end = time.monotonic() + self._grace
        elif left <= 0:
            self.overdue = not self.interrupted
            self._ask_to_end()
        try:
            line = self._lines.get(timeout=min(max(left, 0.0), 0.5))
        except queue.Empty:
            return True
        if line is not None:
            hear(line)
        return line is not None

    def _ask_to_end(self) -> None:
        if not self._asked:
            self._asked, self._end = True, time.monotonic() + self._grace
            oscalls.interrupt(self._process)
