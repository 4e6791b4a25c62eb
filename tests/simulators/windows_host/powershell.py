"""The one PowerShell command that PsExec workers use: ends some processes and lists all. Any other fails."""

import re
import sys
import time

import psutil

from ras_runner.transports.windows_processes import Process, list_command

EPOCH = 116444736000000000
command = sys.argv[sys.argv.index("-Command") + 1]
keys = set(re.findall(r"'(\d+ \d+)'", command))
ending = [Process(*map(int, (key.split()[0], 0, key.split()[1]))) for key in re.findall(r"'(\d+ \d+)'", command)]
if command != list_command(ending):
    print(f"not simulated: {command}", file=sys.stderr)
    sys.exit(1)


def created(process):
    return int(process.create_time() * 10_000_000) + EPOCH


lines = []
for process in psutil.process_iter():
    try:
        if f"{process.pid} {created(process)}" in keys:
            process.kill()
            continue
    except psutil.Error:
        continue
for process in psutil.process_iter():
    try:
        times = process.cpu_times()
        cpu = int((times.user + times.system) * 10_000_000)
        line = " ".join(" ".join(process.cmdline()).split())
        lines.append(f"{process.pid} {process.ppid()} {created(process)} {cpu} {line}")
    except psutil.Error:
        continue
print(int(time.time() * 10_000_000) + EPOCH)
print("\n".join(lines))
