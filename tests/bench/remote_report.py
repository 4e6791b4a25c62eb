"""The tables of ``remote.py`` as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from page import table, targets

CPU_TARGET, BYTES_TARGET = 0.15, 1.01
_TITLES = {"dispatch": "99 plans", "terrain": "99 plans, terrain of 500 MB", "results": "60 plans, results of 5 MB"}
_FILES = {"big": "one file of 300 MB", "small": "2000 files of 4 KB"}


def remote_targets(remote: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    """Target, what was found, whether it is met."""
    judged = []
    for row in remote["rows"]:
        kind, all_good = row["kind"], row["succeeded"] == row["plans"]
        if row["case"] == "dispatch":
            found = f"{row['cpu']:.3f} on the controller ({row['far_cpu']:.3f} more on the worker's side)"
            judged.append(
                (f"{kind}: dispatch below {CPU_TARGET} CPU s a plan", found, all_good and row["cpu"] < CPU_TARGET)
            )
        elif row["case"] == "terrain":
            ratio = row["travelled"] / row["unique"]
            name = f"{kind}: 99 plans with a 500 MB terrain send at most {BYTES_TARGET} times the unique bytes"
            judged.append((name, f"{ratio:.4f} times", all_good and ratio <= BYTES_TARGET))
        else:
            found = f"{row['last_half'] / 1e3:.0f} KB a plan in the second half of the campaign"
            name = f"{kind}: what is sent for a plan does not depend on finished plans' results"
            judged.append((name, found, all_good and row["last_half"] < 1e5))
    pairs = {(row["what"], row["tool"]): row for row in remote["transfers"]}
    for what, text in _FILES.items():
        if (what, "rsync") in pairs:
            ratio = pairs[what, "ras-runner"]["wall"] / pairs[what, "rsync"]["wall"]
            judged.append((f"{text} over SSH as fast as rsync", f"{ratio:.2f} times its time", ratio <= 1.0))
    return judged


def remote_section(remote: Mapping[str, Any]) -> str:
    """Docker and SSH workers, and files over SSH."""
    parts = ["## Docker and SSH workers", _NOTE, targets(remote_targets(remote))]
    columns = ("worker", "", "slots", "succeeded", "CPU s a plan", "of the worker's side", "sent", "unique bytes")
    rows = [
        (
            row["kind"],
            _TITLES[row["case"]],
            str(row["slots"]),
            f"{row['succeeded']} / {row['plans']}",
            f"{row['cpu']:.3f}",
            f"{row['far_cpu']:.3f}",
            f"{row['travelled'] / 1e6:.1f} MB",
            f"{row['unique'] / 1e6:.1f} MB",
        )
        for row in remote["rows"]
    ]
    parts += [table(columns, rows), "### Files over SSH", _TRANSFERS]
    sent = [
        (_FILES[row["what"]], row["tool"], f"{row['wall']:.2f}", f"{row['best']:.2f}", f"{row['cpu']:.2f}")
        for row in remote["transfers"]
    ]
    parts.append(table(("", "tool", "s (median of 5)", "s (best)", "CPU s, both ends"), sent))
    parts += [f"Not measured: {name}: {reason}" for name, reason in remote["missing"].items()]
    return "\n\n".join(parts)


_NOTE = """The worker is this machine, behind a real dockerd or sshd. The engine copies a finished result. CPU of the
worker's side: of dockerd and containerd, or of sshd and all that it ran to its end; the run scripts, which are
detached, and the containers' shims are not in it. Sent: by the journal, all inputs and scripts. Unique bytes: the
store afterwards, each content once. (The peer's Docker worker stages 137 MB a plan with results of 5 MB and 6 slots:
measured once, not in this run.)"""
_TRANSFERS = """In turn, each to an empty place on the same disk. rsync: log on, compare, send (`rsync -a` over OpenSSH
with its default cipher). ras-runner: log on, ask what is there, send, verify by a strong sum at the far end, flush to
the disk, rename. Python's own start is not in it."""
