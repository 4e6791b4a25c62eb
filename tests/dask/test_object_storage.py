"""Dask workers that share no folder: each has a file system of its own, and S3 (moto's server) is all between them."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import psutil
import pytest
from moto.server import ThreadedMotoServer
from tests.commands import Runner, wait_until
from tests.dask.cluster import DaskCluster, running_cluster
from tests.services import needs_mounts, not_here

from ras_runner.errors import InputError, OperatorError
from ras_runner.hecras.project import Project
from ras_runner.oscalls import ATTEMPT_VARIABLE
from ras_runner.workers.registry import make_worker

INSTALL = Path(__file__).resolve().parents[1] / "install-services.sh"
ACCESS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture
def s3() -> Iterator[dict[str, str]]:
    """A running S3 server: the environment in which programs find it, and s3fs."""
    asked = subprocess.run(["bash", INSTALL, "s3fs-folder"], capture_output=True, text=True, check=False)
    folder = Path(asked.stdout.strip())
    if not (folder / "complete").exists():
        not_here(f"s3fs is not in {folder}: run {INSTALL} dask")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield {**ACCESS, "AWS_ENDPOINT_URL": f"http://{host}:{port}", "PYTHONPATH": str(folder)}
    finally:
        server.stop()


@pytest.fixture
def own_cluster(tmp_path: Path) -> Iterator[DaskCluster]:
    """A cluster that a test may break."""
    with running_cluster(tmp_path / "dask") as cluster:
        yield cluster


def computed_now(runner: Runner) -> set[str]:
    """The attempts that have an engine running."""
    found = set()
    for process in runner.engines():
        with contextlib.suppress(psutil.Error):
            found.add(process.environ()[ATTEMPT_VARIABLE])
    return found


def test_a_campaign_through_s3_survives_a_dask_worker_and_its_controller(
    own_cluster: DaskCluster, s3: dict[str, str], project: Project, tmp_path: Path
):
    needs_mounts()
    there = tmp_path / "worker"
    own_cluster.environment = s3
    own_cluster.add("first", own=there)
    own_cluster.add("second", own=there)
    parameters = own_cluster.stored(there, storage_url="s3://plans/a/b", worker_folder=str(there), cores_total=2)
    runner = Runner(
        tmp_path, group="dask_workers", variables={f"ras_{name}": value for name, value in parameters.items()}
    )
    runner.environment |= s3
    refused = runner.run("execute", project.folder, "-i", runner.inventory, code=None)
    assert "s3://plans/a/b cannot be written to: The specified bucket does not exist" in refused.stderr
    keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
    bucket = boto3.resource("s3", endpoint_url=s3["AWS_ENDPOINT_URL"], **keys).create_bucket(Bucket="plans")
    stranger = bucket.put_object(Key="a/b2/w/mine", Body=b"another's")

    runner.environment["RAS_STANDIN_PACE"] = "0.03"
    controller = runner.start("execute", project.folder, "-i", runner.inventory, "--plans", "1,2")
    wait_until(lambda: len(computed_now(runner)) == 2, "both Dask workers compute")
    own_cluster.kill("first")
    controller.kill()
    controller.wait()
    assert "attached" in runner.run("resume").stderr
    assert {t["state"] for t in runner.tasks().values()} == {"completed"}
    lost = [row for row in runner.attempts() if row["outcome"] != "completed"]
    assert [(row["outcome"], row["blame"]) for row in lost] == [("infrastructure-lost", "part")]
    assert "the Dask worker that ran it has" in lost[0]["message"]
    runner.check_no_engine_runs()

    assert list(there.iterdir()) == []  # of this machine: nothing went through a folder
    left = {name.key.split("/", 3)[2:3][0] for name in bucket.objects.filter(Prefix="a/b/")}
    assert left == {"store", "w"}
    attempts = {name.key.split("/")[3] for name in bucket.objects.filter(Prefix="a/b/w/")}
    assert attempts == {lost[0]["id"]}
    (swept,) = runner.json("sweep", "--yes", "--workspaces", "0")
    assert swept["done"] == "removed"
    assert {name.key.split("/")[2] for name in bucket.objects.filter(Prefix="a/b/")} == {"store"}
    assert stranger.get()["Body"].read() == b"another's"


@pytest.mark.skipif(sys.platform == "win32", reason="paths of Linux")
def test_what_is_wrong_with_the_storage_is_said_first(own_cluster: DaskCluster, tmp_path: Path):
    def init(**more: object) -> None:
        make_worker("dask", {**own_cluster.stored(tmp_path / "bucket"), **more})

    for url, said in (
        ("s3://key:secret@bucket/a", "without a password"),
        ("simplecache::s3://bucket", "protocol://place"),
        ("s3://bucket/*", "without blanks"),
        ("bucket/a", "protocol://place"),
    ):
        with pytest.raises(InputError, match=said) as caught:
            init(storage_url=url)
        assert "secret" not in str(caught.value)
    with pytest.raises(InputError, match="give either shared_folder, or storage_url"):
        init(shared_folder=str(tmp_path))
    with pytest.raises(InputError, match="give either shared_folder, or storage_url"):
        init(storage_url="")
    with pytest.raises(InputError, match="storage_url needs worker_folder"):
        init(worker_folder="")
    own_cluster.add("a", own=tmp_path / "bucket")  # which is another one there
    with pytest.raises(OperatorError, match=r"Dask worker tcp://.*does not see what this machine has just put"):
        init()
    assert list((tmp_path / "bucket").iterdir()) == []
