"""What a burst is asked to be, before any cloud is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ras_runner.errors import InputError
from ras_runner.fleet.burst_order import BurstOrder, duration, make_order, seconds_of


@pytest.fixture
def parameters(tmp_path: Path) -> dict[str, Any]:
    archive = tmp_path / "worker.tar.gz"
    archive.write_bytes(b"an image")
    return {
        "cloud": "aws",
        "region": "us-east-1",
        "workers": 2,
        "ttl": "2h",
        "max_cost": "40",
        "docker_image": "standin:1",
        "engine": "standin",
        "image_archive": archive,
        "access_cidrs": ["203.0.113.7", "2001:db8::/64"],
    }


def test_order(parameters: dict[str, Any]) -> None:
    order = make_order({**parameters, "machine_image": None})
    assert (order.ttl, str(order.max_cost)) == (7200.0, "40")
    assert order.access_cidrs == ("203.0.113.7/32", "2001:db8::/64")
    assert BurstOrder(**order.model_dump(mode="json")) == order, "a record has all of it"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cloud": "gcp"}, "unknown cloud 'gcp'"),
        ({"ttl": None}, "needs ttl"),
        ({"max_cost": None}, "needs max_cost"),
        ({"ttl": "soon"}, "is no time"),
        ({"ttl": "25h"}, "24 h is the limit"),
        ({"ttl": "1m"}, "needs 10 min"),
        ({"workers": 0}, "workers"),
        ({"max_cost": "-1"}, "max_cost"),
        ({"max_cost": "nan"}, "max_cost"),
        ({"access_cidrs": ["0.0.0.0/0"]}, "is everybody"),
        ({"access_cidrs": ["::/0"]}, "is everybody"),
        ({"access_cidrs": ["203.0.113.7/24"]}, "host bits"),
        ({"image_archive": "/no/such/file"}, "docker save"),
        ({"engine": "hecras-linux"}, "version"),
        ({"colour": "red"}, "unknown parameter 'colour'"),
    ],
)
def test_wrong_parameters(parameters: dict[str, Any], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        make_order({**parameters, **changes})
    assert message in str(caught.value)
    assert caught.value.action


def test_empty_archive(parameters: dict[str, Any]) -> None:
    parameters["image_archive"].write_bytes(b"")
    with pytest.raises(InputError, match="it is empty"):
        make_order(parameters)


@pytest.mark.parametrize(
    ("text", "seconds", "words"),
    [
        ("90m", 5400, "1 h 30 min"),
        ("4h", 14400, "4 h"),
        ("1h30m", 5400, "1 h 30 min"),
        ("1d", 86400, "24 h"),
        ("0.5h", 1800, "30 min"),
        (60, 60, "1 min"),
    ],
)
def test_times(text: Any, seconds: float, words: str) -> None:
    assert seconds_of(text) == seconds
    assert duration(seconds) == words


@pytest.mark.parametrize("text", ["", "h", "4", "4 hours", "-4h", "1m1h", "1e9h", "\u0664h4"])
def test_no_times(text: str) -> None:
    with pytest.raises(ValueError, match="is no time"):
        seconds_of(text)
