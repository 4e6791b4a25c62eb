"""What a Slurm cluster refuses, told before a plan is sent there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.slurm.cluster import SlurmCluster

from ras_runner.errors import InputError, OperatorError, RasRunnerError
from ras_runner.transports.slurm_cluster import ThisMachine
from ras_runner.transports.slurm_jobs import cancel_program
from ras_runner.workers.registry import make_worker


@pytest.mark.parametrize(
    ("given", "kind", "says"),
    [
        ({"partition": "nowhere"}, InputError, r"no partition nowhere(.|\n)*closed, island, main, urgent"),
        ({"partition": "main,nowhere"}, InputError, "no partition nowhere\n"),
        ({"constraint": "gpu"}, OperatorError, r"Invalid feature specification(.|\n)*sinfo -o %f"),
        ({"cores_per_plan": 64, "cores_total": 64}, OperatorError, r"node configuration(.|\n)*fewer cores"),
        ({"memory_per_plan": "900g"}, OperatorError, r"node configuration is not available(.|\n)*memory_per_plan"),
        ({"sbatch_options": {"nodelist": "n1,n2"}}, OperatorError, r"number of nodes(.|\n)*nodelist"),
        ({"sbatch_options": {"reservation": "none"}}, OperatorError, r"reservation is invalid(.|\n)*scontrol show"),
        ({"sbatch_options": {"licenses": "hecras:1"}}, OperatorError, r"license(.|\n)*sbatch_options"),
        ({"sbatch_options": {"wrap": "rm"}}, InputError, r"wrap cannot be given; those that can are begin, "),
        ({"time_limit": "soon"}, InputError, "time_limit"),
        ({"username": "x"}, InputError, "username cannot be given without hostname"),
        ({"image": "/none.sif"}, OperatorError, r"no image /none.sif"),
        ({"standin_command": "/none/ras-standin"}, OperatorError, "no command /none/ras-standin"),
        ({"worker_folder": "/proc/x"}, OperatorError, "worker folder /proc/x cannot be made"),
    ],
)
def test_refused(
    slurm_cluster: SlurmCluster, tmp_path: Path, given: dict[str, Any], kind: type[RasRunnerError], says: str
):
    parameters = slurm_cluster.parameters(tmp_path / "worker", **given)
    if "image" in given:
        del parameters["standin_command"]
    with pytest.raises(kind, match=says):
        make_worker("slurm", parameters)


def test_a_host_without_slurm(slurm_cluster: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("env", "sed"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OperatorError, match=r"lacks Slurm's commands sbatch, squeue(.|\n)*slurm-client"):
        make_worker("slurm", slurm_cluster.parameters(tmp_path / "worker"))


def test_a_host_that_knows_no_cluster(slurm_cluster: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))
    (tmp_path / "slurm.conf").write_text(
        "ClusterName=x\nSlurmctldHost=localhost\nAuthInfo=socket=/none\nMessageTimeout=1\n"
    )
    with pytest.raises(RasRunnerError, match=r"this machine: init worker: Slurm"):
        make_worker("slurm", slurm_cluster.parameters(tmp_path / "worker"))


def test_to_cancel_what_is_just_ending_is_no_error(slurm_cluster: SlurmCluster):
    """scancel fails for it, and says that there is no such job: true also while a node is slow to clean up."""
    options = ("--parsable", "--array=0-1", "--output=/dev/null", "--wrap", "exec sleep 600")
    job = slurm_cluster.say("sbatch", *options)
    assert ThisMachine().run(cancel_program([f"{job}_0"]), step="stop").code == 0
    done = ThisMachine().run(cancel_program([f"{job}_0", f"{job}_1", "999999_0"]), step="stop")
    assert (done.code, done.errors) == (0, "")
    slurm_cluster.clear()
