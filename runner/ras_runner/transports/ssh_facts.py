"""What a Linux host is and has, found out by one program that changes nothing there."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING

from ras_runner.transports.ssh_programs import TOOLS, BadAnswerError

if TYPE_CHECKING:
    from collections.abc import Mapping


def facts_program(folder: str) -> str:
    """Print names and values, each ended by NUL.

    ``missing``: the tools that are not there. ``folder``: the worker folder, or the nearest above it that exists;
    ``writable``: ``yes`` when it can be written to. ``free``: bytes that this user may write there. ``cores``.

    Args:
        folder: the worker folder; ``~/x`` and ``x`` are below the home folder.
    """
    place = quote(folder) if folder.startswith("/") else '"$HOME"/' + quote(folder.removeprefix("~").lstrip("/"))
    return f"""export LC_ALL=C
missing=
for tool in {" ".join(TOOLS)}; do command -v "$tool" >/dev/null || missing="$missing $tool"; done
there={place}
while [ ! -e "$there" ] && [ "$there" != / ]; do there=$(dirname -- "$there"); done
writable=
[ -d "$there" ] && [ -w "$there" ] && [ -x "$there" ] && writable=yes
set -- $(stat -f -c '%a %S' -- "$there")
printf '%s\\0' missing "$missing" folder "$there" writable "$writable" free "$(($1 * $2))" \
  cores "$(nproc 2>/dev/null || grep -c '^processor' /proc/cpuinfo)"
"""


def read_facts(output: bytes) -> Mapping[str, str]:
    """Name -> value.

    Raises:
        BadAnswerError: it is cut short.
    """
    words = output.decode("utf-8", "surrogateescape").split("\0")
    facts = dict(zip(words[::2], words[1::2], strict=False))
    if "cores" not in facts:
        raise BadAnswerError("the host's answer is cut short")
    return facts
