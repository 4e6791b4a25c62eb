"""The commands of ``ras-runner``, and how its errors become exit codes."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer

from ras_runner.cli.burst import burst_commands
from ras_runner.cli.machines import machines
from ras_runner.cli.options import (
    EXIT_INPUT,
    EXIT_INTERRUPTED,
    EXIT_NO_WORKER,
    EXIT_OK,
    CampaignArgument,
    EngineOption,
    InventoryOption,
    JsonOption,
    ProjectArgument,
    ProjectsArgument,
    StateOption,
    leave,
)
from ras_runner.errors import RasRunnerError

app = typer.Typer(
    name="ras-runner",
    help="Runs the plans of HEC-RAS projects on every machine you have, and loses nothing on the way.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 all completed, 1 a plan failed, 2 wrong input or a person must act, 3 no usable worker, "
    "130 interrupted (resume goes on).",
)


def _version(wanted: bool) -> None:
    if wanted:
        from ras_runner import __version__

        typer.echo(f"ras-runner {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version


@app.command()
def plans(project: ProjectArgument, json: JsonOption = False) -> None:
    """List the plans of a project, and what each lacks."""
    from ras_runner.cli import listing

    listing.plans(project, as_json=json)


@app.command()
def execute(
    projects: ProjectsArgument,
    plans: Annotated[str, typer.Option("--plans", help="Plan numbers such as 01,02, of each project; or all.")] = "all",
    inventory: InventoryOption = None,
    engine: EngineOption = "",
    num_cores: Annotated[
        int | None,
        typer.Option("--num-cores", min=1, help="Cores of each plan [default: the worker's].", show_default=False),
    ] = None,
    max_concurrent: Annotated[
        int | None, typer.Option("--max-concurrent", min=1, help="At most so many plans at once.", show_default=False)
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", min=0.001, help="Stop a plan after so many minutes.", show_default=False),
    ] = None,
    stuck_after: Annotated[
        float,
        typer.Option(
            "--stuck-after",
            min=0.001,
            help="Stop what waits for a person after so many minutes: HEC-RAS in a window, a held Slurm job.",
        ),
    ] = 10.0,
    retries: Annotated[int, typer.Option("--retries", min=0, help="Repeat a plan whose model failed.")] = 0,
    lost_after: Annotated[
        float,
        typer.Option("--lost-after", min=0, help="A worker out of reach for so many seconds has lost its plans."),
    ] = 120.0,
    force: Annotated[bool, typer.Option("--force", help="Run plans whose results are current, too.")] = False,
    clear_geompre: Annotated[
        bool, typer.Option("--clear-geompre", help="Make the geometry preprocessor's files anew.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would run where; run nothing.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Run in the background; print the campaign id.")] = False,
    keep_workspaces: Annotated[
        bool, typer.Option("--keep-workspaces", help="Keep the workspaces of all plans.")
    ] = False,
    json: JsonOption = False,
    state_dir: StateOption = None,
) -> None:
    """Compute plans of one or several projects; unchanged ones are skipped."""
    from ras_runner.campaign.campaigns import CampaignSettings
    from ras_runner.cli import running

    settings = CampaignSettings(
        num_cores=num_cores,
        max_concurrent=max_concurrent,
        timeout=timeout,
        stuck_after=stuck_after,
        retries=retries,
        lost_after=lost_after,
        force_rerun=force,
        clear_geompre=clear_geompre,
        keep_workspaces=keep_workspaces,
    )
    order = running.Order(tuple(projects), plans, inventory, engine, settings, state_dir)
    if dry_run:
        running.dry_run(order, as_json=json)
    else:
        leave(running.detach(order) if detach else running.execute(order, as_json=json))


@app.command()
def resume(
    campaign: CampaignArgument = None,
    new: Annotated[bool, typer.Option("--new", hidden=True)] = False,  # the background half of execute --detach
    json: JsonOption = False,
    state_dir: StateOption = None,
) -> None:
    """Go on with a campaign: attach to what runs, run what is left."""
    from ras_runner.campaign.run import Mode
    from ras_runner.cli import running

    leave(running.resume(campaign, state_dir, Mode.NEW if new else Mode.RESUME, as_json=json))


@app.command()
def cancel(
    campaign: CampaignArgument = None,
    plan: Annotated[str, typer.Option("--plan", help="Only this plan.", show_default=False)] = "",
    state_dir: StateOption = None,
) -> None:
    """Stop a campaign, or one plan of it, with all its processes."""
    from ras_runner.cli import running

    running.cancel(campaign, plan, state_dir)


@app.command()
def status(
    campaign: CampaignArgument = None,
    every: Annotated[bool, typer.Option("--all", help="List all campaigns.")] = False,
    json: JsonOption = False,
    state_dir: StateOption = None,
) -> None:
    """Show how far a campaign is."""
    from ras_runner.cli import listing

    if every:
        listing.campaigns(state_dir, as_json=json)
    else:
        listing.status(campaign, state_dir, as_json=json)


@app.command()
def watch(campaign: CampaignArgument = None, state_dir: StateOption = None) -> None:
    """Follow a campaign until it is over."""
    from ras_runner.cli import running

    leave(running.watch(campaign, state_dir))


@app.command()
def logs(
    campaign: CampaignArgument = None,
    plan: Annotated[str, typer.Option("--plan", help="Only this plan.", show_default=False)] = "",
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on printing until the campaign is over.")] = False,
    state_dir: StateOption = None,
) -> None:
    """Print what the engines said."""
    from ras_runner.cli import logs as logs_command

    logs_command.logs(campaign, plan, state_dir, follow=follow)


@app.command()
def results(campaign: CampaignArgument = None, json: JsonOption = False, state_dir: StateOption = None) -> None:
    """List the results of a campaign."""
    from ras_runner.cli import listing

    listing.results(campaign, state_dir, as_json=json)


@app.command()
def report(
    campaign: CampaignArgument = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Folder to write [default: in the state folder].", show_default=False),
    ] = None,
    state_dir: StateOption = None,
) -> None:
    """Write the HTML report of a campaign and print its path."""
    from ras_runner.cli import listing

    listing.report(campaign, output, state_dir)


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where to write the example project.")] = Path("ras-runner-demo"),
) -> None:
    """Write an example project, run it with the stand-in engine (NOT HEC-RAS), and make a report."""
    from ras_runner.cli import running

    leave(running.demo(folder))


app.add_typer(machines)
app.add_typer(burst_commands, name="burst")


def _tell_of_bursts(argv: list[str]) -> None:
    """A line on each burst that a controller has died and left up: it costs money."""
    import itertools
    import os

    from ras_runner.campaign.journal import default_state_dir
    from ras_runner.fleet.burst_record import left_behind

    if argv[:2] == ["burst", "down"]:
        return
    given = [after for word, after in itertools.pairwise(argv) if word == "--state-dir"]
    given += [word.partition("=")[2] for word in argv if word.startswith("--state-dir=")]
    named = given[-1] if given else os.environ.get("RAS_RUNNER_STATE_DIR", "")
    for sentence in left_behind(Path(named) if named else default_state_dir()):
        typer.echo(f"ras-runner: {sentence}", err=True)


def run() -> None:
    """Run the command line; errors end in one clear message and an exit code, never in a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a Windows console or pipe that knows no such character
    warnings.showwarning = lambda message, *_, **__: typer.echo(f"ras-runner: warning: {message}", err=True)
    try:
        _tell_of_bursts(sys.argv[1:])
        app()
    except RasRunnerError as error:
        typer.echo(f"ras-runner: {error}", err=True)
        sys.exit(EXIT_INPUT if error.kind in ("input", "operator") else EXIT_NO_WORKER)
    except KeyboardInterrupt:
        typer.echo("ras-runner: interrupted", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:  # the reader of stdout (head, less) has gone
        sys.stderr.close()
        sys.exit(EXIT_OK)
