"""What runs on an SSH host to fill its store, to make workspaces of it, and to keep it small.

Pure functions, as in ``ssh_programs``.
"""

from __future__ import annotations

import base64
import gzip
from shlex import quote
from typing import TYPE_CHECKING

from ras_runner.transports.ssh_bundle import NO_LINKS, links_bundle
from ras_runner.transports.ssh_programs import BadAnswerError
from ras_runner.transports.store import KEEP_MINUTES, STALE_MINUTES, StoreFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import PurePath

    from ras_runner.transports.base import Place

#: Paths in one loop of sh, and words of one command.
_AT_ONCE, _ARGUMENTS = 100, 500
#: Prints which of the SUM_TOOLS to use on a host.
SUM_PROGRAM = """has() { command -v "$1" >/dev/null; }
if has openssl && grep -qwE 'sha_ni|sha2' /proc/cpuinfo; then echo openssl
elif has b2sum; then echo b2sum
else echo sha256sum
fi
"""


def _q(path: PurePath) -> str:
    """A path as one word of sh."""
    return quote(str(path))


def sizes_program(paths: Sequence[PurePath]) -> str:
    """Print which of the paths are files, by index, then their sizes, a line each, so many paths at a time; mark them
    as used.

    Only the time of access is set: the others are shared with the workspaces that have a link to the file.
    """
    lines = []
    for start in range(0, len(paths), _AT_ONCE):
        words = " ".join(map(_q, paths[start : start + _AT_ONCE]))
        lines.append(
            f"i={start}; have=; set --\n"
            f'for p in {words}; do [ ! -f "$p" ] || {{ set -- "$@" "$p"; have="$have $i"; }}; i=$((i+1)); done\n'
            '[ $# = 0 ] || { echo $have; touch -a -c "$@" 2>/dev/null; stat -c %s "$@"; }\n'
        )
    return "".join(lines)


def read_sizes(output: bytes, paths: Sequence[PurePath]) -> dict[PurePath, int]:
    """Path -> size in bytes.

    Raises:
        BadAnswerError: a file went while it was looked at.
    """
    lines = output.splitlines()
    sizes: dict[PurePath, int] = {}
    while lines:
        indices = lines.pop(0).split()
        if len(lines) < len(indices) or any(len(line.split()) != 1 for line in lines[: len(indices)]):
            raise BadAnswerError("files of the store went while they were looked at")
        sizes |= {paths[int(index)]: int(lines.pop(0)) for index in indices}
    return sizes


def receive_program(temporary: PurePath, *, append: bool) -> str:
    """Write stdin to a file."""
    folder = _q(temporary.parent)
    return f"export LC_ALL=C; mkdir -p {folder} && cat {'>>' if append else '>'}{_q(temporary)}"


def commit_program(temporary: PurePath, target: PurePath, expected: str, tool: str, *, store: bool) -> str:
    """Verify a received file by its sum, and give it its name; else remove it. A file for the store is made durable
    meanwhile, and unwritable.

    Prints ``ok``, or ``differs``. When a repeated call finds the file in its place, that is verified.
    """
    sync = 'sync -d "$file" 2>/dev/null &' if store else ""
    return f"""export LC_ALL=C
file={_q(temporary)}; [ -f "$file" ] || file={_q(target)}
{sync}
set -- $({tool} <"$file")
wait
if [ "$1" != {quote(expected)} ]; then rm -f {_q(temporary)}; echo differs; exit 0; fi
{'chmod 0444 "$file" || exit 1' if store else ""}
[ "$file" = {_q(target)} ] || mv -f "$file" {_q(target)} || exit 1
echo ok
"""


def carried(data: bytes, program: str) -> str:
    """A program whose stdin comes with it."""
    text = base64.encodebytes(gzip.compress(data, 1, mtime=0)).decode("ascii")
    return f"base64 -d <<'END-OF-DATA' | gzip -dc | ( {program} )\n{text}END-OF-DATA\n"


def place_program(places: Sequence[Place], root: PurePath, spare: PurePath) -> str:
    """Hard links and private copies, a few processes for all. The old files go first: writing into one could reach
    the store.

    Args:
        places: what is to be made.
        root: the worker folder.
        spare: a temporary folder below it.
    """
    lines = [f"export LC_ALL=C; umask 022; cd {_q(root)} || exit 1"]
    folders = list(dict.fromkeys(str(place.target.parent) for place in places))
    copies = [str(place.target) for place in places if not place.link]
    lines += [f"mkdir -p {words} || exit 1" for words in _batches(folders)]
    lines += [f"rm -f {words} || exit 1" for words in _batches(copies)]
    lines.append(carried(links_bundle(places, root, spare), f"tar -xf - 2>/dev/null || exit {NO_LINKS}"))
    lines.append("code=$?")
    if copies:
        lines.append(f"[ $code != 0 ] || cp -r {_q(spare)}/. . || code=1")
        lines += [f"[ $code != 0 ] || chmod u+rw {words} || code=1" for words in _batches(copies)]
        lines.append(f"rm -rf {_q(spare)}")
    return "\n".join([*lines, "exit $code"]) + "\n"


def place_each_program(places: Sequence[Place]) -> str:
    """The same on a file system that has no hard links, or cannot have more of a file: a copy is as good."""
    lines = [
        "export LC_ALL=C",
        'make() { rm -f "$2" && cp "$1" "$2" && chmod u+rw "$2" || exit 1; }',
        'join() { ln -f "$1" "$2" 2>/dev/null || { rm -f "$2" && cp "$1" "$2"; } || exit 1; }',
    ]
    lines += [f"mkdir -p {_q(folder)} || exit 1" for folder in dict.fromkeys(p.target.parent for p in places)]
    lines += [f"{'join' if p.link else 'make'} {_q(p.source)} {_q(p.target)}" for p in places]
    return "\n".join(lines) + "\n"


def _batches(words: Sequence[str]) -> Iterator[str]:
    """Quoted words for one command each, below what a system takes."""
    for start in range(0, len(words), _ARGUMENTS):
        yield " ".join(map(quote, words[start : start + _ARGUMENTS]))


def list_store_program(store: PurePath) -> str:
    """Remove what transfers have left behind; print the clock and the KiB of that, then a line a file of the store."""
    stale = f"find . -mindepth 1 -maxdepth 2 -name '*.part' -mmin +{STALE_MINUTES} -prune -exec"
    return f"""export LC_ALL=C
cd {_q(store)} || exit 1
kib=$({stale} du -sk {{}} + 2>/dev/null | {{ n=0; while read -r k _; do n=$((n+k)); done; echo $n; }})
{stale} rm -rf {{}} +
echo "$(date +%s) $kib"
find . -mindepth 2 -maxdepth 2 -type f -exec stat -c '%s %X %Y %h %n' {{}} + 2>/dev/null
echo end
"""


def read_store(output: bytes) -> tuple[float, int, list[StoreFile]]:
    """The clock, the bytes that were freed, and the files that :func:`list_store_program` printed.

    Raises:
        BadAnswerError: it is cut short.
    """
    try:
        head, *rows, end = output.decode("utf-8", "surrogateescape").splitlines()
        now, kib = head.split()
        files = []
        for row in rows:
            size, accessed, changed, links, name = row.split(" ", 4)
            used = float(max(int(accessed), int(changed)))
            files.append(StoreFile(name.removeprefix("./"), int(size), used, int(links)))
        if end == "end":
            return float(now), int(kib) << 10, files
    except ValueError as error:
        raise BadAnswerError(f"the list of the store cannot be read: {error}") from error
    raise BadAnswerError("the list of the store is cut short")


def evict_program(store: PurePath, names: Sequence[str]) -> str:
    """Remove files of the store, each looked at again: what is used or linked to by now stays. Prints what went."""
    tests = f"-maxdepth 0 -type f -links 1 -amin +{KEEP_MINUTES} -mmin +{KEEP_MINUTES}"
    lines = [f"export LC_ALL=C; cd {_q(store)} || exit 1"]
    lines += [f"find {words} {tests} -exec rm -f {{}} \\; -print" for words in _batches(names)]
    return "\n".join([*lines, "exit 0"]) + "\n"
