"""Fixtures ``terraform`` and ``burst``. Tests in this folder carry the marker ``terraform``."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.services import mark_folder, not_here
from tests.terraform.applied import Burst, applied
from tests.terraform.cloud import running_cloud
from tests.terraform.program import Terraform, TerraformUnavailable, find_plugins

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder; those that need the applied burst come last, and it is applied meanwhile."""
    mark_folder(items, HERE, pytest.mark.terraform)
    places = [number for number, item in enumerate(items) if item.path.is_relative_to(HERE)]
    ordered = sorted((items[number] for number in places), key=_needs_burst)
    for number, item in zip(places, ordered, strict=True):
        items[number] = item


def _needs_burst(item: pytest.Item) -> bool:
    return "burst" in getattr(item, "fixturenames", ())


@pytest.fixture(scope="session")
def terraform(tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    """Terraform, and a copy of the project's modules and roots."""
    try:
        return Terraform(tmp_path_factory.mktemp("tf") / "terraform", find_plugins())
    except TerraformUnavailable as reason:
        not_here(reason)


@pytest.fixture(scope="session", autouse=True)
def applying(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Future[Burst] | None]:
    """A burst that is being applied, from the first test of this folder on; None when no test needs it."""
    if not any(_needs_burst(item) and item.path.is_relative_to(HERE) for item in request.session.items):
        yield None
        return
    folder = tmp_path_factory.mktemp("applied")
    with running_cloud() as cloud, ThreadPoolExecutor(1) as aside:
        yield aside.submit(lambda: applied(cloud, Terraform(folder / "terraform", find_plugins()), folder))


@pytest.fixture(scope="session")
def burst(applying: Future[Burst]) -> Burst:
    """Two machines, applied."""
    try:
        return applying.result()
    except TerraformUnavailable as reason:
        not_here(reason)
