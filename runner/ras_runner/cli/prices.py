"""``ras-runner burst prices``: what machines cost, as an estimate would take it, and fresh prices."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ras_runner.cli.options import JsonOption, StateOption

if TYPE_CHECKING:
    from ras_runner.fleet.prices import Cloud, Prices

PricesOption = Annotated[
    Path | None,
    typer.Option(
        "--prices",
        envvar="RAS_RUNNER_PRICES",
        help="Your own rates, a YAML file; they go before all others.",
        show_default=False,
    ),
]


def prices(
    cloud: Annotated[Literal["aws", "azure"], typer.Option("--cloud", help="Which cloud.")] = "aws",
    region: Annotated[
        str, typer.Option("--region", help="Only this region; all known ones if left out.", show_default=False)
    ] = "",
    machine: Annotated[
        list[str] | None,
        typer.Option("--machine", help="Only this machine type; may be repeated.", show_default=False),
    ] = None,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="First fetch fresh prices, in place of those fetched before.")
    ] = False,
    own: PricesOption = None,
    json: JsonOption = False,
    state_dir: StateOption = None,
) -> None:
    """Show what machines cost an hour, and where each price is from; --refresh fetches fresh ones."""
    from ras_runner.campaign.journal import default_state_dir
    from ras_runner.fleet.prices import load_prices

    state = state_dir or default_state_dir()
    if refresh:
        _refresh(load_prices(None, state), cloud, region, machine or [], state)
    _show(load_prices(own, state), cloud, region, machine or [], as_json=json)


def _refresh(known: Prices, cloud: Cloud, region: str, machines: list[str], state: Path) -> None:
    """The types that are asked for or, of a region that no table has, the types of all others."""
    import datetime

    from ras_runner.cli.output import short, talk
    from ras_runner.fleet.prices_refresh import refresh_prices

    every = sorted({kind for other in known.regions(cloud) for kind in known.kinds(cloud, other)})
    today = datetime.datetime.now(datetime.UTC).date()
    for name in [region] if region else known.regions(cloud):
        kinds = machines or known.kinds(cloud, name) or every
        talk(f"fetching {len(kinds)} prices of {cloud} {name}")
        done = refresh_prices(cloud, name, kinds, state, today)
        if done.unknown:
            talk(f"{cloud} {name} does not have {', '.join(done.unknown)}")
        talk(f"prices written to {short(done.path)}")


def _show(known: Prices, cloud: Cloud, region: str, machines: list[str], *, as_json: bool) -> None:
    from ras_runner.cli.output import print_json, print_table

    regions = [region] if region else known.regions(cloud)
    rows = [row for name in regions for row in _rows(known, cloud, name, machines)]
    if as_json:
        print_json(rows)
        return
    cells = [[str(value) for value in row.values()] for row in rows]
    headings = ["region", "machine", "system", "full price", "spot", "from"]
    print_table(f"Prices of {cloud}, {known.currency} an hour", headings, cells, right=(3, 4))


def _rows(known: Prices, cloud: Cloud, region: str, machines: list[str]) -> list[dict[str, Any]]:
    from ras_runner.errors import InputError

    known.region(cloud, region)  # an unknown region is said, whatever machines are asked for
    rows: list[dict[str, Any]] = []
    for kind in machines or known.kinds(cloud, region):
        for system in ("linux", "windows"):
            try:
                rate = known.machine(cloud, region, kind, system)
            except InputError:
                if system == "linux" and machines:
                    raise
                continue  # a table may have a type for one system only
            rows.append(
                {
                    "region": region,
                    "machine": kind,
                    "system": system,
                    "on_demand": float(rate.on_demand),
                    "spot": round(float(rate.spot), 6),
                    "source": rate.source,
                }
            )
    return rows
