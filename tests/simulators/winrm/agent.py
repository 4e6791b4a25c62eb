"""Starts, lists and ends processes on the Windows machine of the tests: one JSON request a line on stdin, one answer.

A program of its own, run by Windows Python: it imports nothing of the tests.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time

import psutil

#: Seconds that a process may take to be made, on a machine that is busy.
PATIENCE = 20.0
#: Seconds between 1601, where Windows counts from, and 1970.
EPOCH = 11644473600


def start(line: str, folder: str) -> int:
    """Start a command line detached, as the task scheduler does; its process id."""
    flags = subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP
    nothing = subprocess.DEVNULL
    process = subprocess.Popen(line, cwd=folder, creationflags=flags, stdin=nothing, stdout=nothing, stderr=nothing)
    return process.pid


def created(process: psutil.Process) -> int:
    """When it was created, as Windows counts."""
    return int((process.create_time() + EPOCH) * 1e7)


def processes() -> list[list[object]]:
    """Number, parent, time of creation, CPU time and command line of each process."""
    found = (described(process) for process in psutil.process_iter())
    return [one for one in found if one]


def described(process: psutil.Process) -> list[object]:
    """What is listed of a process; nothing when it has ended. A list that lacks one would be worse than none.

    Raises:
        OSError: wine does not tell for so long that it never will.
    """
    until = time.monotonic() + PATIENCE
    while True:
        try:
            times, name = process.cpu_times(), process.name()
            command = subprocess.list2cmdline(process.cmdline()) if name.lower() == "cmd.exe" else ""
            cpu = int((times.user + times.system) * 1e7)
            return [process.pid, process.ppid(), created(process), cpu, command]
        except (psutil.Error, OSError) as error:  # it has ended; or it is being made, and wine cannot tell yet
            if not psutil.pid_exists(process.pid):
                return []
            if time.monotonic() > until:
                raise OSError(f"process {process.pid} does not tell what it is: {error}") from error
            time.sleep(0.02)


def end(pid: int, when: int) -> bool:
    """End a process, if it is the one that was created then."""
    try:
        process = psutil.Process(pid)
        if created(process) != when:
            return False
        process.kill()
        process.wait(5)
    except (psutil.Error, OSError):  # it is gone, or wine could not say: it is asked again
        return False
    return True


def main() -> None:
    """Answer until stdin ends."""
    calls = {"start": start, "processes": processes, "end": end}
    for line in sys.stdin:
        name, arguments = json.loads(line)
        try:
            answer: object = {"value": calls[name](*arguments)}
        except OSError as error:
            answer = {"error": str(error)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


main()
