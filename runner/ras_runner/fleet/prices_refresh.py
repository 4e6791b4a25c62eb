"""Fresh prices from the clouds' own price lists: AWS Price List and spot history, Azure Retail Prices.

Only machines are fetched; what the small things cost (disks, storage, transfer) stays with the shipped table. Formats:
https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_pricing_GetProducts.html and
https://learn.microsoft.com/rest/api/cost-management/retail-prices/azure-retail-prices
"""

from __future__ import annotations

import json
import os
import urllib.parse
import urllib.request
from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ras_runner.errors import OperatorError
from ras_runner.fleet.prices import FETCHED, MachinePrice, PriceFile, RegionPrices
from ras_runner.packages import required

if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from ras_runner.fleet.prices import Cloud

AZURE_PRICES = "https://prices.azure.com/api/retail/prices"
#: The price list is served from few regions; this one has it all.
_AWS_LIST_REGION = "us-east-1"
_TIMEOUT = 30
#: Types a request to Azure: its addresses may not grow without end.
_AZURE_TYPES = 15
#: A region's answer is a few pages; more means that the filter was not understood.
_MOST_PAGES = 100

#: Machine types and, by ``MachinePrice`` field, the prices that were found for each.
Found = dict[str, dict[str, Decimal]]


@dataclass(frozen=True, slots=True)
class Refreshed:
    """Where fetched prices were written, and the types that the price list does not have."""

    path: Path
    unknown: tuple[str, ...]


def refresh_prices(cloud: Cloud, region: str, kinds: Sequence[str], state_dir: Path, today: datetime.date) -> Refreshed:
    """Fetch what machine types cost in a region, and keep it in the state directory for `load_prices`.

    Args:
        cloud, region: where.
        kinds: machine types. What an earlier call fetched for this region is replaced.
        state_dir: the state directory.
        today: the date that the prices get.

    Raises:
        OperatorError: the price list cannot be reached, refuses, or knows none of the types. The file is as it was.
    """
    found = (aws_prices if cloud == "aws" else azure_prices)(region, kinds)
    if not found:
        raise OperatorError(
            f"the price list of {cloud} has none of {', '.join(kinds)} in {region}",
            step="refresh prices",
            action="check the spelling of the types and of the region",
        )
    source = "AWS Price List and spot price history" if cloud == "aws" else "Azure Retail Prices"
    machines = {kind: MachinePrice(**prices) for kind, prices in sorted(found.items())}
    table = PriceFile(as_of=today, source=source, **{cloud: {region: RegionPrices(machines=machines)}})
    path = state_dir / FETCHED / f"{cloud}-{region}.yaml"
    _write(path, table)
    return Refreshed(path, tuple(kind for kind in kinds if kind not in found))


def _write(path: Path, table: PriceFile) -> None:
    """JSON is YAML too; written under another name first, so that a reader sees the old or the new one."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(table.model_dump_json(exclude_none=True, exclude_defaults=True, indent=1), encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise OperatorError(
            f"{path} cannot be written: {error}", step="refresh prices", action="check the disk and the rights"
        ) from error


def aws_prices(region: str, kinds: Sequence[str]) -> Found:
    """Prices of machine types in a region of AWS; a spot price is the mean of its zones.

    Raises:
        OperatorError: boto3 is missing, there are no credentials, or AWS refuses.
    """
    boto3 = required("boto3", "AWS prices", "aws", step="refresh prices")
    refusals = required("botocore.exceptions", "AWS prices", "aws", step="refresh prices")
    found: Found = defaultdict(dict)
    try:
        price_list = boto3.client("pricing", region_name=_AWS_LIST_REGION)
        for kind in kinds:
            for system, price in _aws_on_demand(price_list, region, kind):
                found[kind][system] = price
        for (kind, name), price in _aws_spot(boto3.client("ec2", region_name=region), kinds):
            if kind in found:
                found[kind][name] = price
    except (refusals.BotoCoreError, refusals.ClientError) as error:
        raise OperatorError(
            f"AWS did not give its prices: {error}",
            step="refresh prices",
            action="check the region, the credentials (aws sts get-caller-identity) and the rights "
            "pricing:GetProducts and ec2:DescribeSpotPriceHistory",
        ) from error
    return dict(found)


def _aws_on_demand(price_list: Any, region: str, kind: str) -> Iterator[tuple[str, Decimal]]:
    """(``linux`` or ``windows``, USD an hour) of a type: shared hardware, no other software, licence in the price."""
    wanted = {"regionCode": region, "instanceType": kind, "tenancy": "Shared", "preInstalledSw": "NA"}
    wanted |= {"capacitystatus": "Used"}
    filters = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in wanted.items()]
    for page in price_list.get_paginator("get_products").paginate(ServiceCode="AmazonEC2", Filters=filters):
        for text in page["PriceList"]:
            item = json.loads(text)
            about = item["product"]["attributes"]
            system = {"Linux": "linux", "Windows": "windows"}.get(about.get("operatingSystem", ""))
            if system and about.get("licenseModel") == "No License required":
                for price in _aws_hourly(item["terms"].get("OnDemand", {})):
                    yield system, price


def _aws_hourly(terms: dict[str, Any]) -> Iterator[Decimal]:
    for term in terms.values():
        for dimension in term["priceDimensions"].values():
            price = Decimal(dimension["pricePerUnit"].get("USD", "0"))
            if dimension["unit"] == "Hrs" and price:
                yield price


def _aws_spot(ec2: Any, kinds: Sequence[str]) -> Iterator[tuple[tuple[str, str], Decimal]]:
    """((type, ``linux_spot`` or ``windows_spot``), USD an hour) as of now."""
    import datetime

    names = {"Linux/UNIX": "linux_spot", "Windows": "windows_spot"}
    zones: dict[tuple[str, str], dict[str, Decimal]] = defaultdict(dict)
    pages = ec2.get_paginator("describe_spot_price_history").paginate(
        InstanceTypes=list(kinds), ProductDescriptions=list(names), StartTime=datetime.datetime.now(datetime.UTC)
    )
    for page in pages:
        for row in page["SpotPriceHistory"]:
            key = (row["InstanceType"], names[row["ProductDescription"]])
            zones[key].setdefault(row["AvailabilityZone"], Decimal(row["SpotPrice"]))  # the latest comes first
    for key, prices in zones.items():
        yield key, (sum(prices.values(), Decimal(0)) / len(prices)).quantize(Decimal("0.000001"))


def azure_prices(region: str, kinds: Sequence[str], address: str = AZURE_PRICES) -> Found:
    """Prices of VM sizes in a region of Azure, in USD. Its price list asks for no account.

    Args:
        region: such as ``westeurope``.
        kinds: sizes such as ``Standard_F8s_v2``.
        address: of the price list.

    Raises:
        OperatorError: it cannot be reached, or answers something else.
    """
    found: Found = defaultdict(dict)
    for start in range(0, len(kinds), _AZURE_TYPES):
        sizes = " or ".join(f"armSkuName eq '{_quoted(kind)}'" for kind in kinds[start : start + _AZURE_TYPES])
        query = (
            f"serviceName eq 'Virtual Machines' and priceType eq 'Consumption' "
            f"and armRegionName eq '{_quoted(region)}' and ({sizes})"
        )
        first = f"{address}?{urllib.parse.urlencode({'currencyCode': 'USD', '$filter': query})}"
        for kind, name, price in _azure_rows(_pages(first, _get)):
            found[kind][name] = price
    return dict(found)


def _quoted(text: str) -> str:
    return text.replace("'", "''")


def _azure_rows(items: Iterable[dict[str, Any]]) -> Iterator[tuple[str, str, Decimal]]:
    """(size, ``MachinePrice`` field, USD an hour); low-priority machines, an older kind of spot, are left out."""
    for item in items:
        meter = f"{item['skuName']} {item['meterName']}"
        if item["unitOfMeasure"] != "1 Hour" or "Low Priority" in meter:
            continue
        system = "windows" if item["productName"].endswith("Windows") else "linux"
        spot = "_spot" if "Spot" in meter else ""
        yield item["armSkuName"], system + spot, Decimal(str(item["retailPrice"]))


def _pages(first: str, get: Callable[[str], dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The items of all pages; the next one is taken only from where the first came from."""
    link, origin = first, urllib.parse.urlsplit(first)[:2]
    for _ in range(_MOST_PAGES):
        page = get(link)
        try:
            yield from page["Items"]
        except (KeyError, TypeError) as error:
            raise _azure_error(link, f"it answered something else than prices ({error!r})") from error
        link = page.get("NextPageLink") or ""
        if not link:
            return
        if urllib.parse.urlsplit(link)[:2] != origin:
            raise _azure_error(first, f"its next page is somewhere else: {link}")
    raise _azure_error(first, f"it has more than {_MOST_PAGES} pages")


def _get(link: str) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(link, timeout=_TIMEOUT) as answer:  # noqa: S310  https, or a test's own server
            page: dict[str, Any] = json.load(answer)
    except (OSError, ValueError) as error:  # URLError is an OSError, broken JSON a ValueError
        raise _azure_error(link, str(error)) from error
    return page


def _azure_error(link: str, cause: str) -> OperatorError:
    return OperatorError(
        f"no prices from {urllib.parse.urlsplit(link).netloc}: {cause}",
        step="refresh prices",
        action="check the network (a proxy is taken from https_proxy); until then the prices stay as they were",
    )
