"""The commands of ``ras-runner``, and how its errors become exit codes."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer

from ras_runner.errors import InputError, RasRunnerError

#: 0 all completed, 1 a plan failed, 2 wrong input or a person must act, 3 no usable worker, 130 interrupted.
EXIT_OK, EXIT_PLAN_FAILED, EXIT_INPUT, EXIT_NO_WORKER, EXIT_INTERRUPTED = 0, 1, 2, 3, 130

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

ProjectArgument = Annotated[Path, typer.Argument(help="Project folder or .prj file.", show_default=False)]
CampaignArgument = Annotated[
    str | None, typer.Argument(help="Campaign id; the latest if left out.", show_default=False)
]
CampaignToChange = Annotated[str, typer.Argument(help="Campaign id.", show_default=False)]
StateOption = Annotated[
    Path | None,
    typer.Option(
        "--state-dir",
        envvar="RAS_RUNNER_STATE_DIR",
        help="Folder of the journal [default: the user's state folder].",
        show_default=False,
    ),
]
InventoryOption = Annotated[
    Path | None,
    typer.Option(
        "-i",
        "--inventory",
        help="Inventory of workers [default: inventory/workers.json, inventory/local.yml, else this machine].",
        show_default=False,
    ),
]
EngineOption = Annotated[
    str,
    typer.Option(
        "--engine",
        help="Engine on all workers: hecras-windows, hecras-linux or standin (NOT HEC-RAS).",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


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
    project: ProjectArgument,
    plans: Annotated[str, typer.Option("--plans", help="Plan numbers such as 01,02, or all.")] = "all",
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
        typer.Option("--stuck-after", min=0.001, help="Stop a HEC-RAS that waits in a window after so many minutes."),
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
    """Compute plans of a project; unchanged ones are skipped."""
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
    order = running.Order(project, plans, inventory, engine, settings, state_dir)
    if dry_run:
        running.dry_run(order, as_json=json)
    else:
        _leave(running.detach(order) if detach else running.execute(order, as_json=json))


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

    _leave(running.resume(campaign, state_dir, Mode.NEW if new else Mode.RESUME, as_json=json))


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

    _leave(running.watch(campaign, state_dir))


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


worker_commands = typer.Typer(invoke_without_command=True, help="List workers; add or drain them in a campaign.")
app.add_typer(worker_commands, name="workers")


@worker_commands.callback()
def workers(
    context: typer.Context, inventory: InventoryOption = None, engine: EngineOption = "", json: JsonOption = False
) -> None:
    """List the workers of an inventory, and why a host is none; or add and drain workers of a campaign."""
    from ras_runner.cli import listing

    if context.invoked_subcommand is None:
        listing.workers(inventory, engine, as_json=json)
    elif inventory is not None or engine or json:
        word = context.invoked_subcommand
        raise InputError(
            f"an option before the word {word} is for the list of workers, not for {word}",
            step="read command line",
            action=f"give it after the word {word}",
        )


@worker_commands.command("add")
def workers_add(
    campaign: CampaignToChange,
    worker_ids: Annotated[
        list[str] | None, typer.Argument(help="Which of the inventory; all if left out.", show_default=False)
    ] = None,
    inventory: InventoryOption = None,
    engine: EngineOption = "",
    json: JsonOption = False,
    state_dir: StateOption = None,
) -> None:
    """Let workers join a campaign that runs, or its next resume; also those that were drained or are out."""
    from ras_runner.cli import workers as command

    _leave(command.add(campaign, worker_ids or [], inventory, engine, state_dir, as_json=json))


@worker_commands.command("drain")
def workers_drain(
    campaign: CampaignToChange,
    worker_ids: Annotated[list[str], typer.Argument(help="Workers of the campaign.", show_default=False)],
    json: JsonOption = False,
    state_dir: StateOption = None,
) -> None:
    """Give workers no further plans; what runs there goes on to its end."""
    from ras_runner.cli import workers as command

    _leave(command.drain(campaign, worker_ids, state_dir, as_json=json))


@app.command()
def sweep(
    worker: Annotated[list[str] | None, typer.Argument(help="Worker ids; all if left out.", show_default=False)] = None,
    inventory: Annotated[
        Path | None,
        typer.Option(
            "-i",
            "--inventory",
            help="Inventory of workers [default: the workers of all campaigns in the journal].",
            show_default=False,
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="End and remove it; without this it is only listed.")] = False,
    workspaces: Annotated[
        float | None,
        typer.Option(
            "--workspaces",
            min=0,
            help="Kept workspaces too, of plans that ended so many days ago.",
            metavar="DAYS",
            show_default=False,
        ),
    ] = None,
    unknown: Annotated[
        bool, typer.Option("--unknown", help="Also what this journal does not know and what is at rest for a day.")
    ] = False,
    json: JsonOption = False,
    state_dir: StateOption = None,
) -> None:
    """List what crashes have left on workers: containers, processes, workspaces; remove it with --yes."""
    from ras_runner.campaign.sweep import Wish
    from ras_runner.cli import sweeping

    wish = Wish(workspaces, unknown)
    _leave(sweeping.sweep(inventory, worker or (), wish, state_dir, remove=yes, as_json=json))


@app.command()
def doctor(
    hosts: Annotated[
        list[str] | None, typer.Argument(help="Hosts of the inventory; all if left out.", show_default=False)
    ] = None,
    inventory: InventoryOption = None,
    reap: Annotated[
        bool, typer.Option("--reap", help="Remove the services that earlier starts of ours have left on Windows hosts.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Find out what keeps machines from being workers, and what to do about it; changes nothing without --reap."""
    from ras_runner.cli import doctor as doctor_command

    well = doctor_command.doctor(inventory, hosts or [], reap=reap, as_json=json)
    _leave(EXIT_OK if well else EXIT_NO_WORKER)


@app.command()
def sessions(
    host: Annotated[str, typer.Argument(help="Windows host of the inventory.", show_default=False)],
    inventory: InventoryOption = None,
    json: JsonOption = False,
) -> None:
    """Show the sessions of a Windows host, and whose desktop its plans would get."""
    from ras_runner.cli import doctor as doctor_command

    _leave(EXIT_OK if doctor_command.sessions(inventory, host, as_json=json) else EXIT_NO_WORKER)


@app.command()
def setup(
    inventory: Annotated[
        Path | None,
        typer.Option("-i", "--inventory", help="Ansible inventory [default: inventory/local.yml].", show_default=False),
    ] = None,
    limit: Annotated[
        str, typer.Option("--limit", help="Only these hosts or groups, as Ansible takes them.", show_default=False)
    ] = "",
    check: Annotated[bool, typer.Option("--check", help="Change nothing; show what would be changed.")] = False,
    tags: Annotated[
        str,
        typer.Option(
            "--tags",
            help="Only these concerns, such as users,docker,hecras,slurm,remote,share,firewall,session,ssh.",
            show_default=False,
        ),
    ] = "",
    state_dir: StateOption = None,
) -> None:
    """Make the machines of an inventory workers (with Ansible), and write inventory/workers.json."""
    from ras_runner.cli import setup as setup_command

    _leave(setup_command.setup(inventory, limit, tags, state_dir, check=check))


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where to write the example project.")] = Path("ras-runner-demo"),
) -> None:
    """Write an example project, run it with the stand-in engine (NOT HEC-RAS), and make a report."""
    from ras_runner.cli import running

    _leave(running.demo(folder))


image_commands = typer.Typer(no_args_is_help=True, help="Docker images that hold an engine, for Docker workers.")
app.add_typer(image_commands, name="image")


@image_commands.command("build")
def image_build(
    tag: Annotated[str, typer.Option("-t", "--tag", help="Name of the image, such as hecras:6.6.")],
    hecras_archive: Annotated[
        Path | None, typer.Option("--hecras-archive", help="HEC's zip archive for Linux.", show_default=False)
    ] = None,
    version: Annotated[
        str, typer.Option("--version", help="HEC-RAS version of the archive, such as 6.6.", show_default=False)
    ] = "",
    sha256: Annotated[
        str, typer.Option("--sha256", help="What the archive's checksum has to be.", show_default=False)
    ] = "",
    standin: Annotated[bool, typer.Option("--standin", help="Hold the stand-in engine (NOT HEC-RAS).")] = False,
    base: Annotated[
        str,
        typer.Option(
            "--base",
            help="Image to build on [default: debian:12-slim or, for the stand-in, python:3.12-slim].",
            show_default=False,
        ),
    ] = "",
    docker_host: Annotated[
        str,
        typer.Option(
            "--docker-host",
            help="Daemon that builds: unix:///path/of/docker.sock or ssh://user@host [default: this machine's].",
            show_default=False,
        ),
    ] = "",
    ssh_key_path: Annotated[
        Path | None, typer.Option("--ssh-key-path", help="Key for ssh://user@host.", show_default=False)
    ] = None,
    passphrase: Annotated[
        str, typer.Option("--passphrase", help="Of that key: env:NAME, file:path or keyring:service/user.")
    ] = "",
    known_hosts: Annotated[
        Path | None,
        typer.Option("--known-hosts", help="Accepted host keys [default: ~/.ssh/known_hosts].", show_default=False),
    ] = None,
    proxy_jump: Annotated[str, typer.Option("--proxy-jump", help="user@host:port to go through.")] = "",
    json: JsonOption = False,
) -> None:
    """Build the image of a Docker worker, from HEC's archive or this installation; its name goes to stdout."""
    from ras_runner.cli import image

    image.build(
        hecras_archive,
        standin=standin,
        version=version,
        sha256=sha256,
        tag=tag,
        base=base,
        where={
            "docker_host": docker_host,
            "ssh_key_path": ssh_key_path,
            "passphrase": passphrase,
            "known_hosts": known_hosts,
            "proxy_jump": proxy_jump,
        },
        as_json=json,
    )


def _leave(code: int) -> None:
    if code:
        raise typer.Exit(code)


def run() -> None:
    """Run the command line; errors end in one clear message and an exit code, never in a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a Windows console or pipe that knows no such character
    warnings.showwarning = lambda message, *_, **__: typer.echo(f"ras-runner: warning: {message}", err=True)
    try:
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
