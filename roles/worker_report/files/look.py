"""What a Linux machine offers, as JSON; runs on the worker with any Python 3.8 or later. Changes nothing.

look.py HECRAS_FOLDER WORKER_FOLDER [DOCKER_HOST]
"""

import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys

LABEL = "ras-runner.engine"


def said(*command):
    """What a command prints; None when it is not there, fails or hangs."""
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8", timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def system():
    """``Debian GNU/Linux 12 (bookworm)``."""
    try:
        lines = pathlib.Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.platform()
    names = [line.partition("=")[2].strip("\"'") for line in lines if line.startswith("PRETTY_NAME=")]
    return names[0] if names else platform.platform()


def disk(folder):
    """Bytes of the file system that the folder is, or would be, on."""
    place = pathlib.Path(folder)
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).total


def docker(host):
    """Version and our images; None when no daemon answers."""
    command = ["docker", *(["--host", host] if host else [])]
    version = said(*command, "version", "--format", "{{.Server.Version}}")
    if version is None:
        return None
    ids = (said(*command, "image", "ls", "--quiet", "--no-trunc", "--filter", "label=" + LABEL) or "").split()
    described = json.loads(said(*command, "image", "inspect", *sorted(set(ids))) or "[]") if ids else []
    images = [
        {
            "id": image["Id"],
            "tags": sorted(image.get("RepoTags") or []),
            "engine": image["Config"]["Labels"].get(LABEL, ""),
            "version": image["Config"]["Labels"].get(LABEL + "-version", ""),
        }
        for image in described
    ]
    return {"version": version, "images": images}


def main(hecras_folder, worker_folder, docker_host=""):
    """Print it."""
    programs = pathlib.Path(hecras_folder).glob("*/bin/RasUnsteady")
    found = {
        "system": system(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "disk_bytes": disk(worker_folder),
        "hecras": {p.parent.parent.name: str(p.parent.parent) for p in sorted(programs)},
        "docker": docker(docker_host),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
