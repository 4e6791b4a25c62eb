"""The commands of ``ras-runner burst``."""

from __future__ import annotations

import inspect
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from ras_runner.cli.options import JsonOption, ProjectsArgument, StateOption, leave
from ras_runner.cli.prices import prices

if TYPE_CHECKING:
    from collections.abc import Callable

burst_commands = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Rent machines of a cloud for a campaign, and give them back. "
    "Needs Terraform or OpenTofu, and pip install 'ras-runner[aws,docker,ssh]'.",
)

burst_commands.command("prices")(prices)

YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
BurstArgument = Annotated[str, typer.Argument(help="Burst; the only one that is up if left out.", show_default=False)]


def _order(
    cloud: Annotated[str, typer.Option("--cloud", help="aws.")] = "aws",
    region: Annotated[
        str | None,
        typer.Option("--region", envvar=["AWS_REGION", "AWS_DEFAULT_REGION"], help="Region.", show_default=False),
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Machines at most.")] = 1,
    ttl: Annotated[
        str | None,
        typer.Option("--ttl", help="All machines end themselves after this: 90m, 4h, 1h30m.", show_default=False),
    ] = None,
    max_cost: Annotated[
        str | None, typer.Option("--max-cost", help="Stop before it costs more, such as 40.", show_default=False)
    ] = None,
    docker_image: Annotated[str, typer.Option("--image", help="Image that plans run in.")] = "hecras:6.6",
    image_archive: Annotated[
        Path | None,
        typer.Option("--image-archive", help="docker save IMAGE | gzip > this file.", show_default=False),
    ] = None,
    engine: Annotated[
        str, typer.Option("--engine", help="Engine in the image: hecras-linux, or standin (NOT HEC-RAS).")
    ] = "hecras-linux",
    version: Annotated[
        str | None,
        typer.Option("--hecras-version", help="HEC-RAS version in the image, such as 6.6.", show_default=False),
    ] = None,
    machine_types: Annotated[
        list[str] | None,
        typer.Option("--machine-type", help="Will do; several for likelier capacity.", show_default=False),
    ] = None,
    cores_per_plan: Annotated[int, typer.Option("--num-cores", min=1, help="Cores of each plan.")] = 4,
    on_demand: Annotated[
        int, typer.Option("--on-demand", min=0, help="So many machines at the full price, which nobody takes away.")
    ] = 0,
    disk_gib: Annotated[int, typer.Option("--disk", help="Disk of each machine, GiB.")] = 100,
    idle_minutes: Annotated[int, typer.Option("--idle-minutes", help="A machine without plans ends itself.")] = 15,
    machine_image: Annotated[
        str | None, typer.Option("--machine-image", help="AMI [default: Amazon Linux 2023].", show_default=False)
    ] = None,
    vpc_id: Annotated[
        str | None, typer.Option("--vpc-id", help="Network [default: the region's default].", show_default=False)
    ] = None,
    subnet_ids: Annotated[
        list[str] | None, typer.Option("--subnet-id", help="Subnets [default: all.]", show_default=False)
    ] = None,
    profile: Annotated[str | None, typer.Option("--profile", help="Of your AWS settings.", show_default=False)] = None,
    public_ip: Annotated[bool, typer.Option("--public-ip", help="Give machines public addresses.")] = False,
    access_cidrs: Annotated[
        list[str] | None,
        typer.Option("--access-cidr", help="Address of this controller, as machines see it.", show_default=False),
    ] = None,
    allow_access_from_anywhere: Annotated[
        bool, typer.Option("--allow-access-from-anywhere", help="Take 0.0.0.0/0 in --access-cidr.")
    ] = False,
    proxy_jump: Annotated[
        str | None, typer.Option("--proxy-jump", help="user@host:port to go through.", show_default=False)
    ] = None,
    hours_per_plan: Annotated[
        float | None,
        typer.Option("--hours-per-plan", help="For the estimate, where no past run tells.", show_default=False),
    ] = None,
    prices: Annotated[
        Path | None,
        typer.Option("--prices", envvar="RAS_RUNNER_PRICES", help="File of own rates.", show_default=False),
    ] = None,
    ttl_limit: Annotated[
        str, typer.Option("--ttl-limit", envvar="RAS_RUNNER_BURST_TTL_LIMIT", help="Longest --ttl that is taken.")
    ] = "24h",
) -> None:
    """What every command that may buy something takes."""


def _takes_order(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of ``_order``; it gets them as one dictionary ``order``."""
    names = list(inspect.signature(_order).parameters)

    @wraps(command)
    def with_options(**given: Any) -> None:
        order = {name: given.pop(name) for name in names}
        command(order={name: value for name, value in order.items() if value not in (None, [])}, **given)

    own = inspect.signature(command).parameters.values()
    hints = {**get_type_hints(_order, include_extras=True), **get_type_hints(command, include_extras=True)}
    both = [*(p for p in own if p.name != "order"), *inspect.signature(_order).parameters.values()]
    keyword = [p.replace(kind=p.KEYWORD_ONLY, annotation=hints[p.name]) for p in both]
    with_options.__signature__ = inspect.Signature(keyword)  # type: ignore[attr-defined]
    with_options.__annotations__ = {name: hint for name, hint in hints.items() if name != "order"}
    return with_options


@burst_commands.command()
@_takes_order
def run(
    order: dict[str, Any],
    projects: ProjectsArgument,
    plans: Annotated[str, typer.Option("--plans", help="Plan numbers such as 01,02, of each project; or all.")] = "all",
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", min=0.001, help="Stop a plan after so many minutes.", show_default=False),
    ] = None,
    retries: Annotated[int, typer.Option("--retries", min=0, help="Repeat a plan whose model failed.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Run plans whose results are current, too.")] = False,
    yes: YesOption = False,
    json: JsonOption = False,
    state_dir: StateOption = None,
) -> None:
    """Estimate, rent, compute the plans of one or several projects, collect the results, give everything back."""
    from ras_runner.campaign.campaigns import CampaignSettings
    from ras_runner.cli import bursting

    settings = CampaignSettings(num_cores=order["cores_per_plan"], timeout=timeout, retries=retries, force_rerun=force)
    leave(bursting.run(projects, plans, order, settings, state_dir, yes=yes, as_json=json))


@burst_commands.command()
@_takes_order
def up(order: dict[str, Any], yes: YesOption = False, state_dir: StateOption = None) -> None:
    """Rent machines and leave them up; print the inventory for ras-runner execute -i. Nobody watches their cost."""
    from ras_runner.cli import bursting

    leave(bursting.up(order, state_dir, yes=yes))


@burst_commands.command()
@_takes_order
def cost(
    order: dict[str, Any],
    burst: Annotated[
        str, typer.Argument(help="What this burst has cost so far; an estimate if left out.", show_default=False)
    ] = "",
    plans: Annotated[
        int | None, typer.Option("--plans", min=1, help="For the estimate: how many.", show_default=False)
    ] = None,
    json: JsonOption = False,
    state_dir: StateOption = None,
) -> None:
    """What a burst has cost so far, or what one would cost; buys nothing."""
    from ras_runner.cli import bursting

    if burst:
        bursting.spent(burst, state_dir, as_json=json)
    else:
        bursting.estimate({**order, "plans": plans}, state_dir, as_json=json)


@burst_commands.command()
def status(
    every: Annotated[bool, typer.Option("--all", help="Also those that are down.")] = False,
    json: JsonOption = False,
    state_dir: StateOption = None,
) -> None:
    """List bursts: their machines, age, cost, and when they end."""
    from ras_runner.cli import bursting

    bursting.status(state_dir, every=every, as_json=json)


@burst_commands.command()
def down(burst: BurstArgument = "", state_dir: StateOption = None) -> None:
    """Take a burst down that a controller has left or that was made with burst up; see that nothing is left."""
    from ras_runner.cli import bursting

    bursting.down(burst, state_dir)


@burst_commands.command()
def sweep(
    region: Annotated[
        list[str] | None,
        typer.Option("--region", help="Only there [default: all that the account has on].", show_default=False),
    ] = None,
    profile: Annotated[str, typer.Option("--profile", help="Of your AWS settings.", show_default=False)] = "",
    all_owners: Annotated[
        bool, typer.Option("--all-owners", help="Also what other people's controllers have rented.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; without this it is only listed.")] = False,
    json: JsonOption = False,
    state_dir: StateOption = None,
) -> None:
    """List what carries the tags of bursts in AWS, in all regions; remove with --yes what is over."""
    from ras_runner.cli import bursting

    leave(bursting.sweep(region or [], profile, state_dir, all_owners=all_owners, remove=yes, as_json=json))
