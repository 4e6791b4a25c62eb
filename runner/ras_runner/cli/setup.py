"""``ras-runner setup``: live progress of the playbooks, which hosts are ready, and what the doctor finds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ras_runner.campaign.journal import default_state_dir
from ras_runner.cli.options import EXIT_INPUT, EXIT_NO_WORKER, EXIT_OK
from ras_runner.cli.output import console, print_table, short, talk
from ras_runner.errors import InputError, OperatorError
from ras_runner.fleet.setup import SetupOrder, SetupResult, run_setup

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

    from ras_runner.fleet.setup import SetupProgress, Step

_DEFAULT_INVENTORY = Path("inventory") / "local.yml"
_LAST_WORDS = 5


def setup(inventory: Path | None, limit: str, tags: str, state_dir: Path | None, *, check: bool) -> int:
    """``ras-runner setup``."""
    order = SetupOrder(_inventory(inventory), limit, check, tags)
    with _Display() as display:
        result = run_setup(order, state_dir or default_state_dir(), display.hear)
    if not result.progress.hosts and not result.ok:
        said = "\n    ".join(result.progress.others[-_LAST_WORDS:]) or "nothing"
        raise OperatorError(
            f"Ansible ended before it came to any host; it said:\n    {said}",
            step="set up workers",
            action="correct the inventory or the limit; see docs/fleet.md",
            log=str(result.log),
        )
    return _conclude(order, result)


def _inventory(given: Path | None) -> Path:
    if given is not None:
        return given
    if not _DEFAULT_INVENTORY.is_file():
        raise InputError(
            f"there is no inventory: none was given, and there is no {_DEFAULT_INVENTORY} here",
            step="set up workers",
            action="give an Ansible inventory with -i; docs/fleet.md has one to start with",
        )
    return _DEFAULT_INVENTORY


def _conclude(order: SetupOrder, result: SetupResult) -> int:
    hosts = result.progress.hosts
    ready = sorted(name for name, host in hosts.items() if host.ready)
    written = order.workers_file.is_file() and not order.check
    rows = [[name, "ready" if host.ready else "left out", str(host.changed)] for name, host in sorted(hosts.items())]
    columns = ["host", "state", "would change" if order.check else "changed"]
    if not written:  # else the doctor has the reasons
        columns.append("because")
        rows = [[*row, hosts[row[0]].problem] for row in rows]
    print_table("Hosts", columns, rows, right=(2,))
    talk(f"{len(ready)} of {len(hosts)} hosts are ready; event log: {short(result.log)}")
    if order.check:
        talk("check mode: nothing was changed")
    elif written:
        from ras_runner.cli.doctor import doctor

        doctor(order.workers_file, [], reap=False, as_json=False)
    if result.ok and len(ready) == len(hosts):
        return EXIT_OK
    return EXIT_INPUT if ready else EXIT_NO_WORKER


class _Display:
    """Each host with its task on a terminal; elsewhere one line for each change and each failure."""

    def __init__(self) -> None:
        self._console = console(err=True)
        self._live: Live | None = None

    def __enter__(self) -> _Display:
        if self._console.is_terminal:
            from rich.live import Live

            self._live = Live(console=self._console, refresh_per_second=4, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def hear(self, step: Step, progress: SetupProgress) -> None:
        """One step more."""
        name = f"{step.role}: {step.task}" if step.role else step.task
        if self._live is not None:
            self._live.update(_render(progress))
        elif step.state in ("failed", "unreachable"):
            talk(f"{step.host}: {step.state}: {name}: {step.message}")
        elif step.changed:
            talk(f"{step.host}: changed: {name}")


def _render(progress: SetupProgress) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    for name, host in sorted(progress.hosts.items()):
        state, style = ("failed", "red") if host.problem else ("ready", "green") if host.ready else ("", "cyan")
        table.add_row(
            Text(name, "bold"),
            Text(state or "working", style),
            f"{host.changed} changed",
            Text(host.problem or host.task, overflow="ellipsis", no_wrap=True),
        )
    return table
