"""What a cloud charges: the shipped price table, what was fetched since, and an office's own rates before both."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, fields
from decimal import Decimal
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from ras_runner.errors import InputError
from ras_runner.validation import validated

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

#: Clouds that have prices.
Cloud = Literal["aws", "azure"]
#: What runs on the machines; Windows has a licence in its price.
System = Literal["linux", "windows"]
#: Where fetched prices lie, in the state directory: a file a cloud and region.
FETCHED = "prices"

_Rate = Annotated[Decimal, Field(ge=0, le=1000, allow_inf_nan=False)]
_Share = Annotated[Decimal, Field(gt=0, le=1, allow_inf_nan=False)]
_Value = TypeVar("_Value")


class MachinePrice(BaseModel):
    """What a machine type costs an hour; what is left out is looked up in the next file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    linux: _Rate | None = None
    windows: _Rate | None = None
    linux_spot: _Rate | None = None
    windows_spot: _Rate | None = None


class RegionPrices(BaseModel):
    """What a region charges. ``spot_share`` is a typical spot price in parts of the full Linux price."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    disk_gb_month: _Rate | None = None
    storage_gb_month: _Rate | None = None
    egress_gb: _Rate | None = None
    public_ip_hour: _Rate | None = None
    spot_share: _Share | None = None
    machines: dict[str, MachinePrice] = {}


class PriceFile(BaseModel):
    """A price table: prices by cloud, region and machine type, when they were valid, and where they are from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "USD"
    as_of: datetime.date
    source: Annotated[str, Field(min_length=1)]
    aws: dict[str, RegionPrices] = {}
    azure: dict[str, RegionPrices] = {}

    def regions(self, cloud: Cloud) -> dict[str, RegionPrices]:
        """The regions of a cloud."""
        return self.aws if cloud == "aws" else self.azure


@dataclass(frozen=True, slots=True)
class MachineRate:
    """What a machine costs an hour: at the full price, and as a spot machine; ``source`` names the table."""

    on_demand: Decimal
    spot: Decimal
    source: str


@dataclass(frozen=True, slots=True)
class RegionRates:
    """What a region charges: GB of disk and of object storage a month, GB out of the cloud, address an hour."""

    disk_gb_month: Decimal
    storage_gb_month: Decimal
    egress_gb: Decimal
    public_ip_hour: Decimal


class Prices:
    """Price tables, the first that knows a price counts.

    Args:
        tables: each with the words that name it, the most particular first; all in the currency of the first.
    """

    def __init__(self, tables: Sequence[tuple[str, PriceFile]]) -> None:
        self._tables = tuple(tables)
        self.currency = self._tables[0][1].currency

    def machine(self, cloud: Cloud, region: str, kind: str, system: System) -> MachineRate:
        """What a machine costs.

        A spot price that no table has is the full price less what ``spot_share`` saves on Linux: a Windows licence
        costs the same on a spot machine. It is never above the full price.

        Raises:
            InputError: no table has this region or type; lists those there are, and says how to give a rate.
        """
        self._check_region(cloud, region)
        found = self._first(cloud, region, lambda row: _price(row, kind, system))
        if found is None:
            raise self._unknown_machine(cloud, region, kind, system)
        full, source = found
        spot = self._first(cloud, region, lambda row: _price(row, kind, f"{system}_spot"))
        return MachineRate(full, min(full, spot[0] if spot else full - self._saving(cloud, region, kind)), source)

    def _saving(self, cloud: Cloud, region: str, kind: str) -> Decimal:
        linux = self._first(cloud, region, lambda row: _price(row, kind, "linux"))
        spot = self._first(cloud, region, lambda row: _price(row, kind, "linux_spot"))
        share = self._first(cloud, region, lambda row: row.spot_share)
        if linux is None:
            return Decimal(0)
        if spot is not None:
            return max(Decimal(0), linux[0] - spot[0])
        return linux[0] * (1 - share[0]) if share else Decimal(0)

    def region(self, cloud: Cloud, region: str) -> RegionRates:
        """What a region charges besides machines.

        Raises:
            InputError: no table has this region, or the tables lack one of its prices; says how to give it.
        """
        self._check_region(cloud, region)
        names = [field.name for field in fields(RegionRates)]
        return RegionRates(**{name: self._of_region(cloud, region, name) for name in names})

    def _of_region(self, cloud: Cloud, region: str, name: str) -> Decimal:
        def look(row: RegionPrices) -> Decimal | None:
            found: Decimal | None = getattr(row, name)
            return found

        found = self._first(cloud, region, look)
        if found is None:
            raise InputError(
                f"no price table has {name} of {cloud} {region}",
                step="look up price",
                action=_own_file(self.currency, cloud, region, f"{name}: 0.10"),
            )
        return found[0]

    def regions(self, cloud: Cloud) -> tuple[str, ...]:
        """The regions of a cloud that any table has."""
        return tuple(sorted({region for _, table in self._tables for region in table.regions(cloud)}))

    def kinds(self, cloud: Cloud, region: str) -> tuple[str, ...]:
        """The machine types that any table has in a region."""
        rows = [table.regions(cloud).get(region) for _, table in self._tables]
        return tuple(sorted({kind for row in rows if row for kind in row.machines}))

    def _first(
        self, cloud: Cloud, region: str, look: Callable[[RegionPrices], _Value | None]
    ) -> tuple[_Value, str] | None:
        for name, table in self._tables:
            row = table.regions(cloud).get(region)
            value = look(row) if row else None
            if value is not None:
                return value, f"{name} of {table.as_of}"
        return None

    def _check_region(self, cloud: Cloud, region: str) -> None:
        known = self.regions(cloud)
        if region not in known:
            raise InputError(
                f"no price table has the region {region!r} of {cloud}",
                step="look up price",
                action=f"known regions are {', '.join(known) or 'none'}; "
                + _own_file(self.currency, cloud, region, "machines: {...}"),
            )

    def _unknown_machine(self, cloud: Cloud, region: str, kind: str, system: System) -> InputError:
        return InputError(
            f"no price table has {kind} with {system} in {cloud} {region}",
            step="look up price",
            action=f"known types are {', '.join(self.kinds(cloud, region)) or 'none'}; "
            + _own_file(self.currency, cloud, region, f"machines: {{{kind}: {{{system}: 0.50}}}}"),
        )


def load_prices(own: Path | None, state_dir: Path) -> Prices:
    """The prices that count now: the office's own, then what was fetched, then the shipped table.

    Tables in another currency than the office's are left out: an exchange rate is nothing to guess.

    Args:
        own: the office's file; None for none.
        state_dir: the state directory, where fetched prices lie.

    Raises:
        InputError: a file cannot be read, or is no price table; says what is wrong with it.
    """
    tables = [(f"own rates ({own})", read_prices(own))] if own else []
    fetched = sorted((state_dir / FETCHED).glob("*.yaml"))
    tables += [(f"prices fetched for {path.stem}", read_prices(path)) for path in fetched]
    shipped = files("ras_runner.fleet").joinpath("prices.yaml").read_text(encoding="utf-8")
    tables.append(("shipped price table", _parsed(shipped, "the shipped price table")))
    currency = tables[0][1].currency if own else tables[-1][1].currency
    return Prices([(name, table) for name, table in tables if table.currency == currency])


def read_prices(path: Path) -> PriceFile:
    """A price table from a file.

    Raises:
        InputError: it cannot be read, or is no price table.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"the price file {path} cannot be read: {error}", step="read prices", action="give another --prices FILE"
        ) from error
    return _parsed(text, f"price file {path}")


def _parsed(text: str, what: str) -> PriceFile:
    import yaml

    try:
        data: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{what} is no YAML: {error}", step="read prices", action="correct it there") from error
    if not isinstance(data, dict):
        raise InputError(
            f"{what} holds no prices", step="read prices", action="its form is shown in docs/cloud-cost.md"
        )
    return validated(PriceFile, {str(key): value for key, value in data.items()}, what)


def _price(row: RegionPrices, kind: str, name: str) -> Decimal | None:
    machine = row.machines.get(kind)
    found: Decimal | None = getattr(machine, name) if machine else None
    return found


def _own_file(currency: str, cloud: Cloud, region: str, what: str) -> str:
    return (
        "give a rate of your own with --prices FILE, a YAML file such as "
        f"{{currency: {currency}, as_of: 2026-01-31, source: our contract, {cloud}: {{{region}: {{{what}}}}}}}"
    )
