"""Runs on Windows Python under wine: starts programs as CreateProcess does. A line of JSON in, a line of JSON out."""

import json
import os
import subprocess
import sys

FLAGS = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP


def start(asked: dict) -> dict:
    """Start ``command_line`` in ``folder``."""
    environment = {**os.environ, "PATH": f"{asked['path']};{os.environ['PATH']}"}
    try:
        process = subprocess.Popen(
            asked["command_line"],
            cwd=asked["folder"] or None,
            env=environment,
            creationflags=FLAGS,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except OSError as error:
        return {"code": error.winerror or 1, "text": str(error.strerror)}
    return {"pid": process.pid}


for line in sys.stdin:
    print(json.dumps(start(json.loads(line))), flush=True)
