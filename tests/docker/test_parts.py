"""What needs no daemon: what errors and ends mean."""

from __future__ import annotations

import subprocess
import sys

import docker.errors
import pytest
import requests.exceptions

from ras_runner.errors import OperatorError, WorkerError
from ras_runner.transports.docker import end_note
from ras_runner.transports.docker_api import docker_errors

#: ``State`` of containers as a daemon 20.10 tells it.
EXITED = {"Status": "exited", "OOMKilled": False, "ExitCode": 137, "Error": ""}
NOT_STARTED = {"Status": "created", "OOMKilled": False, "ExitCode": 128, "Error": "no such device"}


@pytest.mark.parametrize(
    ("state", "exit_code", "said"),
    [
        (EXITED, 0, ""),
        (EXITED, 7, ""),
        (EXITED, None, "its container ended with exit code 137"),
        (NOT_STARTED, None, "its container ended with exit code 128: no such device"),
        (
            {**EXITED, "OOMKilled": True, "MemoryLimit": 512 << 20},
            137,
            "out of memory: a process was killed at",
        ),
        (None, None, "its container is gone (removed from outside)"),
        (None, 7, ""),
    ],
)
def test_how_a_container_ended(state: dict | None, exit_code: int | None, said: str):
    note = end_note(state, exit_code)
    assert note.startswith(said) and bool(note) == bool(said)
    assert ("limit of 512 MiB" in note) == ("memory" in said)


@pytest.mark.parametrize(
    ("error", "kind", "action"),
    [
        (
            docker.errors.APIError("500", explanation="mkdir /var/lib/docker/x: no space left on device"),
            OperatorError,
            "docker system df",
        ),
        (
            docker.errors.APIError("400", explanation="invalid mount config: bind source path does not exist: /x"),
            OperatorError,
            "worker_folder",
        ),
        (docker.errors.APIError("500", explanation="failed to create shim"), WorkerError, "docker info"),
        (requests.exceptions.ReadTimeout("read timed out"), WorkerError, "restart docker"),
        (requests.exceptions.ConnectionError("Connection refused"), WorkerError, "start docker"),
        (requests.exceptions.ConnectionError(PermissionError(13, "Permission denied")), OperatorError, "usermod"),
    ],
)
def test_what_the_reader_should_do(error: Exception, kind: type[Exception], action: str):
    with pytest.raises(kind, match="box: launch: ") as told, docker_errors("launch", "box", "unix:///d.sock"):
        raise error
    assert action in told.value.action


def test_without_the_sdk_the_pip_command_is_told():
    code = (
        "import sys; sys.modules['docker'] = None\n"
        "from ras_runner import init_ras_worker\n"
        "init_ras_worker('docker', docker_image='x')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False)
    assert "pip install 'ras-runner[docker]'" in done.stderr
    assert "OperatorError" in done.stderr
