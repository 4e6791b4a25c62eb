"""Price tables: which one counts, what is refused, and fresh ones from a server that answers as the clouds document."""

from __future__ import annotations

import json
import threading
import urllib.parse
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import pytest
import typer
from typer.testing import CliRunner

from ras_runner.cli.prices import prices as prices_command
from ras_runner.errors import InputError, OperatorError
from ras_runner.fleet.prices import load_prices
from ras_runner.fleet.prices_refresh import aws_prices, azure_prices, refresh_prices

KIND, REGION = "c7i.2xlarge", "eu-central-1"
asks_aws = pytest.mark.skipif(
    find_spec("boto3") is None, reason="boto3 is not installed on the Windows machine of the tests"
)


def write(path: Path, machine: str, currency: str = "USD", rest: str = "") -> Path:
    path.parent.mkdir(exist_ok=True)
    region = f"{{machines: {{{KIND}: {machine}}}{rest}}}"
    text = f"{{currency: {currency}, as_of: 2026-02-03, source: s, aws: {{{REGION}: {region}}}}}"
    path.write_text(text, encoding="utf-8")
    return path


def test_own_rates_go_before_fetched_ones_and_these_before_the_shipped_table(tmp_path: Path) -> None:
    shipped = load_prices(None, tmp_path)
    table = shipped.machine("aws", REGION, KIND, "linux")
    assert table.source.startswith("shipped price table of 2025-")
    write(tmp_path / "prices" / f"aws-{REGION}.yaml", "{linux: 0.31, linux_spot: 0.11}")
    fetched = load_prices(None, tmp_path).machine("aws", REGION, KIND, "linux")
    assert (fetched.on_demand, fetched.spot) == (Decimal("0.31"), Decimal("0.11"))
    assert fetched.source == f"prices fetched for aws-{REGION} of 2026-02-03"
    own = load_prices(write(tmp_path / "own.yaml", "{linux: 0.2}"), tmp_path)
    mine = own.machine("aws", REGION, KIND, "linux")
    assert (mine.on_demand, mine.spot) == (Decimal("0.2"), Decimal("0.11"))
    assert own.machine("aws", "us-east-1", KIND, "linux") == shipped.machine("aws", "us-east-1", KIND, "linux")


def test_a_windows_licence_is_not_cheaper_on_a_spot_machine(tmp_path: Path) -> None:
    own = write(tmp_path / "own.yaml", "{linux: 0.4, windows: 0.8}", rest=", spot_share: 0.25")
    known = load_prices(own, tmp_path)
    assert known.machine("aws", REGION, KIND, "linux").spot == Decimal("0.100")
    assert known.machine("aws", REGION, KIND, "windows").spot == Decimal("0.500")


def test_a_spot_machine_never_costs_more_than_another(tmp_path: Path) -> None:
    known = load_prices(write(tmp_path / "own.yaml", "{linux: 0.4, linux_spot: 0.9}"), tmp_path)
    assert known.machine("aws", REGION, KIND, "linux").spot == Decimal("0.4")


def test_every_shipped_price_can_be_used_and_windows_has_a_licence_in_it(tmp_path: Path) -> None:
    known = load_prices(None, tmp_path)
    for cloud in ("aws", "azure"):
        assert len(known.regions(cloud)) == 6
        for region in known.regions(cloud):
            assert min(vars_of(known.region(cloud, region))) > 0
            assert len(known.kinds(cloud, region)) >= 12
            for kind in known.kinds(cloud, region):
                linux, windows = (known.machine(cloud, region, kind, system) for system in ("linux", "windows"))
                assert 0 < linux.spot < linux.on_demand < windows.on_demand
                assert windows.spot - linux.spot == windows.on_demand - linux.on_demand


def vars_of(rates: object) -> list[Decimal]:
    return [getattr(rates, name) for name in ("disk_gb_month", "storage_gb_month", "egress_gb", "public_ip_hour")]


def test_what_no_table_knows_is_refused_with_what_they_know_and_how_to_give_it(tmp_path: Path) -> None:
    known = load_prices(None, tmp_path)
    with pytest.raises(InputError) as refused:
        known.machine("aws", REGION, "c99.large", "linux")
    assert KIND in str(refused.value)
    assert "--prices FILE" in str(refused.value)
    own = tmp_path / "own.yaml"
    own.write_text(str(refused.value).split("such as ")[1], encoding="utf-8")  # the file that it shows is taken
    assert load_prices(own, tmp_path).machine("aws", REGION, "c99.large", "linux").on_demand == Decimal("0.5")
    with pytest.raises(InputError, match=r"'mars-1' of azure\n  next: known regions are .*westeurope"):
        known.region("azure", "mars-1")


def test_nothing_is_mixed_into_a_table_of_another_currency(tmp_path: Path) -> None:
    known = load_prices(write(tmp_path / "own.yaml", "{linux: 0.3}", currency="EUR"), tmp_path)
    assert known.currency == "EUR"
    assert known.machine("aws", REGION, KIND, "linux").spot == Decimal("0.3")  # nobody said what spot saves
    with pytest.raises(InputError, match="no price table has disk_gb_month"):
        known.region("aws", REGION)
    with pytest.raises(InputError, match="no price table has the region 'us-east-1'"):
        known.machine("aws", "us-east-1", KIND, "linux")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is no YAML"),
        ("- 1", "holds no prices"),
        ("{as_of: 2026-01-01, source: s, gcp: {}}", "unknown parameter 'gcp'"),
        ("{source: s}", "as_of: Field required"),
        ("{as_of: 2026-01-01, source: s, aws: {r: {machines: {m: {linux: -1}}}}}", "aws.r.machines.m.linux: "),
        ("{as_of: 2026-01-01, source: s, aws: {r: {machines: {m: {linux: .nan}}}}}", "aws.r.machines.m.linux: "),
        ("{as_of: 2026-01-01, source: s, currency: dollars}", "currency: "),
    ],
)
def test_a_file_that_is_no_price_table_is_refused(text: str, said: str, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=said) as refused:
        load_prices(own, tmp_path)
    assert str(own) in str(refused.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"price file .*none.yaml cannot be read"):
        load_prices(tmp_path / "none.yaml", tmp_path)


class PriceLists(BaseHTTPRequestHandler):
    """AWS Price List, EC2 spot history and Azure Retail Prices, as far as their clients ask."""

    azure_items: ClassVar[list[dict[str, object]]] = []
    azure_next = ""

    def do_GET(self) -> None:
        """Azure: two pages, and only what the filter names."""
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        items = [item for item in self.azure_items if f"'{item['armSkuName']}'" in query["$filter"][0]]
        page = int(query.get("page", ["0"])[0])
        link = f"http://{self.headers['Host']}{self.path}&page=1" if page == 0 else None
        self.answer({"Items": items[page::2], "NextPageLink": self.azure_next or link})

    def do_POST(self) -> None:
        """AWS: the service is told by a header (price list) or a form field (EC2)."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.headers.get("X-Amz-Target") == "AWSPriceListService.GetProducts":
            asked = {item["Field"]: item["Value"] for item in json.loads(body)["Filters"]}
            self.answer({"PriceList": self.products(asked), "FormatVersion": "aws_v1"})
        else:
            self.answer(SPOT_HISTORY.encode())

    def products(self, asked: dict[str, str]) -> list[str]:
        """Linux, Windows, Windows with a licence of one's own, and a system that no worker has."""
        if (asked["instanceType"], asked["regionCode"], asked["tenancy"]) != (KIND, REGION, "Shared"):
            return []
        rows = [("Linux", "No License required", "0.4100000000"), ("Windows", "No License required", "0.7800000000")]
        rows += [("Windows", "Bring your own license", "0.4100000000"), ("RHEL", "No License required", "0.5")]
        return [json.dumps(product(*row)) for row in rows]

    def answer(self, content: object) -> None:
        """JSON, or bytes as they are."""
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Nothing to stderr."""


def product(system: str, licence: str, price: str) -> dict[str, object]:
    dimension = {"unit": "Hrs", "pricePerUnit": {"USD": price}, "description": "$ per On Demand hour"}
    return {
        "product": {"attributes": {"instanceType": KIND, "operatingSystem": system, "licenseModel": licence}},
        "terms": {"OnDemand": {"X.Y": {"priceDimensions": {"X.Y.Z": dimension}}}, "Reserved": {}},
    }


def spot_row(zone: str, price: str, system: str) -> str:
    return (
        f"<item><instanceType>{KIND}</instanceType><productDescription>{system}</productDescription>"
        f"<spotPrice>{price}</spotPrice><timestamp>2026-11-22T18:00:00.000Z</timestamp>"
        f"<availabilityZone>{REGION}{zone}</availabilityZone></item>"
    )


#: Zone a has two prices: the latest comes first, and counts.
SPOT_HISTORY = (
    '<DescribeSpotPriceHistoryResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><spotPriceHistorySet>'
    + spot_row("a", "0.150000", "Linux/UNIX")
    + spot_row("a", "0.990000", "Linux/UNIX")
    + spot_row("b", "0.170000", "Linux/UNIX")
    + spot_row("b", "0.520000", "Windows")
    + "</spotPriceHistorySet><nextToken></nextToken></DescribeSpotPriceHistoryResponse>"
)


def azure_item(
    size: str, price: float, product_name: str = "Virtual Machines FSv2 Series", sku: str = "F8s v2"
) -> dict:
    return {
        "armSkuName": size,
        "retailPrice": price,
        "productName": product_name,
        "skuName": sku,
        "meterName": sku,
        "unitOfMeasure": "1 Hour",
    }


@pytest.fixture
def lists(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server of price lists; boto3 asks it instead of AWS."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), PriceLists)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    for name, value in {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",
    }.items():
        monkeypatch.setenv(name, value)
    yield address
    server.shutdown()
    server.server_close()


@asks_aws
def test_aws_prices_are_those_of_shared_machines_with_a_licence_and_the_mean_of_the_zones(lists: str) -> None:
    assert aws_prices(REGION, [KIND, "c99.large"]) == {
        KIND: {
            "linux": Decimal("0.41"),
            "windows": Decimal("0.78"),
            "linux_spot": Decimal("0.16"),
            "windows_spot": Decimal("0.52"),
        }
    }


def test_azure_prices_of_all_pages_without_low_priority_machines(lists: str, monkeypatch: pytest.MonkeyPatch) -> None:
    size, windows = "Standard_F8s_v2", "Virtual Machines FSv2 Series Windows"
    items = [
        azure_item(size, 0.388),
        azure_item(size, 0.756, windows),
        azure_item(size, 0.0776, sku="F8s v2 Low Priority"),
        azure_item(size, 0.07, sku="F8s v2 Spot"),
        azure_item(size, 0.14, windows, sku="F8s v2 Spot"),
        {**azure_item(size, 99.0), "unitOfMeasure": "1 Month"},
        azure_item("Standard_D8s_v5", 0.46),
    ]
    monkeypatch.setattr(PriceLists, "azure_items", items)
    prices = ("linux", "0.388"), ("windows", "0.756"), ("linux_spot", "0.07"), ("windows_spot", "0.14")
    assert azure_prices("westeurope", [size], lists) == {size: {name: Decimal(price) for name, price in prices}}


def test_a_next_page_on_another_host_is_not_fetched(lists: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PriceLists, "azure_next", "http://169.254.169.254/latest/meta-data")
    with pytest.raises(OperatorError, match="its next page is somewhere else"):
        azure_prices("westeurope", ["Standard_F8s_v2"], lists)


@asks_aws
def test_a_refresh_by_command_is_kept_dated_and_used(lists: str, tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(prices_command)
    arguments = ["--region", REGION, "--machine", KIND, "--state-dir", str(tmp_path), "--json"]
    done = CliRunner().invoke(app, [*arguments, "--machine", "m7i.2xlarge", "--refresh"])
    assert done.exit_code == 0, done.output
    assert f"aws {REGION} does not have m7i.2xlarge\n" in done.stderr
    rows = json.loads(CliRunner().invoke(app, arguments).stdout)
    assert [(row["system"], row["on_demand"], row["spot"]) for row in rows] == [
        ("linux", 0.41, 0.16),
        ("windows", 0.78, 0.52),
    ]
    assert rows[0]["source"].startswith(f"prices fetched for aws-{REGION} of 20")
    others = json.loads(CliRunner().invoke(app, ["--state-dir", str(tmp_path), "--json"]).stdout)
    assert len({row["region"] for row in others}) == 6
    assert {row["source"][:7] for row in others if row["machine"] != KIND} == {"shipped"}


@asks_aws
def test_a_refresh_that_fails_leaves_the_prices_as_they_were(lists: str, tmp_path: Path) -> None:
    kept = write(tmp_path / "prices" / f"aws-{REGION}.yaml", "{linux: 0.31}")
    before = kept.read_text(encoding="utf-8")
    with pytest.raises(OperatorError, match=r"has none of c99\.large in eu-central-1"):
        refresh_prices("aws", REGION, ["c99.large"], tmp_path, date(2026, 11, 22))
    assert kept.read_text(encoding="utf-8") == before


def test_an_azure_price_list_that_does_not_answer_is_named_with_what_to_check() -> None:
    with pytest.raises(OperatorError, match=r"no prices from 127\.0\.0\.1:1: .*\n  next: check the network"):
        azure_prices("westeurope", ["Standard_F8s_v2"], "http://127.0.0.1:1")


@asks_aws
def test_aws_that_does_not_answer_is_said_with_what_to_check(lists: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(OperatorError, match=r"AWS did not give its prices: .*\n  next: .*pricing:GetProducts"):
        aws_prices(REGION, [KIND])
