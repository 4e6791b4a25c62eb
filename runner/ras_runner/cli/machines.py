"""The commands about machines: workers, sweep, doctor, sessions, setup, image."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ras_runner.cli.options import (
    EXIT_NO_WORKER,
    EXIT_OK,
    CampaignToChange,
    EngineOption,
    InventoryOption,
    JsonOption,
    StateOption,
    leave,
)
from ras_runner.errors import InputError

#: Its commands are those of ``ras-runner`` itself.
machines = typer.Typer(rich_markup_mode=None)

worker_commands = typer.Typer(invoke_without_command=True, help="List workers; add or drain them in a campaign.")
machines.add_typer(worker_commands, name="workers")


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

    leave(command.add(campaign, worker_ids or [], inventory, engine, state_dir, as_json=json))


@worker_commands.command("drain")
def workers_drain(
    campaign: CampaignToChange,
    worker_ids: Annotated[list[str], typer.Argument(help="Workers of the campaign.", show_default=False)],
    json: JsonOption = False,
    state_dir: StateOption = None,
) -> None:
    """Give workers no further plans; what runs there goes on to its end."""
    from ras_runner.cli import workers as command

    leave(command.drain(campaign, worker_ids, state_dir, as_json=json))


@machines.command()
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
        bool,
        typer.Option(
            "--unknown",
            help="Also what this journal does not know and is at rest for a day (30, where it never began).",
        ),
    ] = False,
    json: JsonOption = False,
    state_dir: StateOption = None,
) -> None:
    """List what crashes have left on workers: containers, processes, workspaces; remove it with --yes."""
    from ras_runner.campaign.sweep import Wish
    from ras_runner.cli import sweeping

    wish = Wish(workspaces, unknown)
    leave(sweeping.sweep(inventory, worker or (), wish, state_dir, remove=yes, as_json=json))


@machines.command()
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
    leave(EXIT_OK if well else EXIT_NO_WORKER)


@machines.command()
def sessions(
    host: Annotated[str, typer.Argument(help="Windows host of the inventory.", show_default=False)],
    inventory: InventoryOption = None,
    json: JsonOption = False,
) -> None:
    """Show the sessions of a Windows host, and whose desktop its plans would get."""
    from ras_runner.cli import doctor as doctor_command

    leave(EXIT_OK if doctor_command.sessions(inventory, host, as_json=json) else EXIT_NO_WORKER)


@machines.command()
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

    leave(setup_command.setup(inventory, limit, tags, state_dir, check=check))


image_commands = typer.Typer(no_args_is_help=True, help="Docker images that hold an engine, for Docker workers.")
machines.add_typer(image_commands, name="image")


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
