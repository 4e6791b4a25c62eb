"""What runs on an SSH host: small programs for a POSIX sh with coreutils, and the readers of what they print.

Pure functions. All names are quoted; what is printed is framed so that no name or content can break it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from shlex import quote
from typing import TYPE_CHECKING

from ras_runner.transports.base import Found, Status, exit_code

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import PurePath

    from ras_runner.transports.base import Probe

#: Environment variable that every process of an attempt carries.
MARK = "RAS_RUNNER_ATTEMPT"
TAIL_BYTES = 4096
#: Programs that a host must have, besides those that sh always has.
TOOLS = (
    *("base64", "cat", "chmod", "cp", "env", "find", "grep", "gzip", "ln", "mkdir", "mv", "nice", "rm"),
    *("sed", "setsid", "sha256sum", "sleep", "stat", "tail", "tar", "touch", "tr"),
)
#: Messages in English, and times as fine as the host's stat has them (busybox: whole seconds).
_HEAD = """export LC_ALL=C
mtime() {
  m=$(stat -c %.9Y "$1" 2>/dev/null)
  case $m in '' | *[!0-9.]*) m=$(stat -c %Y "$1" 2>/dev/null) ;; esac
  printf %s "$m"
}
"""
#: ``marked ATTEMPT FILE...``: those of the /proc/PID/environ files that carry the mark. GNU grep reads past NUL bytes,
#: busybox' does not.
_MARKED = f"""marked() {{
  id=$1; shift
  if printf 'x\\0y' | grep -qaF y 2>/dev/null; then
    grep -lsaF "{MARK}=$id" "$@"
  else
    for e; do
      tr '\\0' '\\n' 2>/dev/null <"$e" | grep -qxF "{MARK}=$id" && printf '%s\\n' "$e"
    done
  fi
}}
"""


class BadAnswerError(Exception):
    """A program's output is cut short or is not what it prints."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file in a folder on the host: name, seconds since 1970 by the host's clock, bytes."""

    name: str
    mtime: float
    size: int


@dataclass(frozen=True, slots=True)
class Listing:
    """Regular files of a folder.

    Attributes:
        now: the host's clock, whole seconds.
        claimed: when the attempt had claimed its workspace, by the host's clock; None when it never did, or its
            workspace has gone.
        files: all of them, by name.
    """

    now: float
    claimed: float | None
    files: tuple[RemoteFile, ...]


def _q(path: PurePath | str) -> str:
    """A path as one word of sh. A leading ``-`` cannot happen: paths are absolute."""
    return quote(str(path))


def prepare_program(folder: str) -> str:
    """Make the worker folder, try to write in it, look for the tools; ``~/x`` and ``x`` are below the home folder.

    Prints the folder's absolute path after ``ok``, or ``missing`` and the tools that are not there. NUL-separated.
    """
    below_home = folder.removeprefix("~/") if folder != "~" else ""
    place = _q(folder) if folder.startswith("/") else '"$HOME"/' + _q(below_home)
    return f"""{_HEAD}missing=
for tool in {" ".join(TOOLS)}; do command -v "$tool" >/dev/null || missing="$missing $tool"; done
[ -d /proc/self ] || missing="$missing /proc"
[ -z "$missing" ] || {{ printf 'missing\\0%s\\0' "$missing"; exit 0; }}
mkdir -p {place} && cd {place} && mkdir -p store w || exit 1
: >"w/.writable.$$" && rm -f "w/.writable.$$" || exit 1
printf 'ok\\0%s\\0' "$(pwd -P)"
"""


def find_engine_program(candidates: Sequence[str]) -> str:
    """Print the first of the glob-free folders, or sub-folders of those ending in ``/*``, that holds a HEC-RAS.

    ``$RAS_HECRAS_FOLDER`` of the host comes first. Newest sub-folder first.
    """
    words = " ".join(c if c.endswith("/*") else _q(c) for c in candidates)
    return f"""found=
for folder in "$RAS_HECRAS_FOLDER" {words}; do
  [ -n "$folder" ] && [ -f "$folder/bin/RasUnsteady" ] || continue
  found=$folder
  case $folder in "$RAS_HECRAS_FOLDER") break ;; esac
done
printf %s "$found"
"""


def command_program(command: str) -> str:
    """Exit code 0 when the host has this command."""
    return f"command -v {_q(command)} >/dev/null"


def read_program(path: PurePath, start: int, last: int) -> str:
    """Print ``yes`` and the end of a file; nothing when it does not exist."""
    tail = f"tail -c {last} {_q(path)}" if start <= 0 else f"tail -c +{start + 1} {_q(path)} | tail -c {last}"
    return f"[ -f {_q(path)} ] || exit 0\necho yes\n{tail}\n"


def remove_program(path: PurePath) -> str:
    """Remove a tree. Folders without the right to write are given it first."""
    return f"""export LC_ALL=C
rm -rf {_q(path)} 2>/dev/null && exit 0
[ -L {_q(path)} ] || chmod -R u+rwX {_q(path)} 2>/dev/null
rm -rf {_q(path)}
"""


def claim_program(folder: PurePath, token: str) -> str:
    """Take the claim; a repeated call with the same token finds its own. Prints ``taken`` or ``started``."""
    return f"""export LC_ALL=C
[ -d {_q(folder)} ] || {{ echo taken; exit 0; }}
cd {_q(folder)} || exit 1
if mkdir claim 2>/dev/null; then printf %s {quote(token)} >claim/by && echo taken; exit; fi
[ -d claim ] || {{ mkdir claim; exit 1; }}
if [ "$(cat claim/by 2>/dev/null)" = {quote(token)} ]; then echo taken; else echo started; fi
"""


def launch_program(attempt: str, folder: PurePath, script: str) -> str:
    """Start the run script in a session of its own; print its pid as soon as it has claimed its workspace."""
    return f"""export LC_ALL=C
cd {_q(folder)} || exit 1
[ -f {quote(script)} ] || {{ echo {quote(script)}: not there >&2; exit 1; }}
( unset LC_ALL; exec setsid -f env {MARK}={quote(attempt)} sh {quote(script)} >launch.log 2>&1 </dev/null ) || exit 1
i=0
while [ ! -s claim/pid ] && [ $i -lt 40 ]; do sleep 0.05 2>/dev/null || sleep 1; i=$((i+1)); done
cat claim/pid 2>/dev/null || :
"""


def poll_program(probes: Sequence[Probe], boundary: str) -> str:
    """Print, for each attempt, whether it is alive, then exit.json with its times, then the ends of its files."""
    parts = [_HEAD, _MARKED, f"say() {{ printf '\\n@%s %s\\n' {quote(boundary)} \"$1\"; }}\n"]
    parts += [_look(index, probe) for index, probe in enumerate(probes)]
    return "".join(parts) + "say end\n"


def _look(index: int, probe: Probe) -> str:
    """The process before exit.json: the script writes that as its last act."""
    folder = _q(probe.folder)
    tails = "".join(
        f'[ ! -f {_q(path)} ] || {{ say "tail {index}"; tail -c {TAIL_BYTES} {_q(path)}; }}\n'
        for path in probe.progress_files
    )
    return f"""cd {folder} 2>/dev/null && {{
{"" if probe.files_only else _look_at_processes(index, probe)}if [ -f exit.json ]; then
say "exit {index} $(mtime claim) $(mtime exit.json)"; cat exit.json
fi
{tails}}}
"""


def _look_at_processes(index: int, probe: Probe) -> str:
    attempt = quote(probe.attempt)
    condition = "" if probe.whole_tree else "[ ! -f exit.json ] && "
    return f"""pid=; read -r pid 2>/dev/null <claim/pid
alive=0
if [ -n "$pid" ] && [ -n "$(marked {attempt} "/proc/$pid/environ")" ]; then alive=1
elif {condition}[ -n "$(marked {attempt} /proc/[0-9]*/environ)" ]; then alive=1
fi
say "alive {index} $alive"
"""


def read_poll(output: bytes, probes: Sequence[Probe], boundary: str) -> dict[str, Status]:
    """What :func:`poll_program` printed, by attempt.

    Raises:
        BadAnswerError: it is cut short.
    """
    sections = output.split(b"\n@" + boundary.encode() + b" ")[1:]
    if not sections or sections[-1].strip() != b"end":
        raise BadAnswerError("the answer to a look at the attempts is cut short")
    alive = [False] * len(probes)
    exits: list[tuple[int | None, float | None]] = [(None, None)] * len(probes)
    tails: list[list[str]] = [[] for _ in probes]
    for section in sections[:-1]:
        head, _, content = section.partition(b"\n")
        kind, index, *rest = head.decode("ascii").split()
        if kind == "alive":
            alive[int(index)] = rest == ["1"]
        elif kind == "exit":
            exits[int(index)] = (exit_code(content), _seconds(rest))
        elif content:
            tails[int(index)].append(content.decode("latin-1"))
    return {
        probe.attempt: Status(alive[i], exits[i][0], None if exits[i][0] is None else exits[i][1], tuple(tails[i]))
        for i, probe in enumerate(probes)
    }


def _seconds(times: Sequence[str]) -> float | None:
    try:
        claimed, ended = map(float, times)
    except ValueError:
        return None
    return max(0.0, ended - claimed)


def attempts_program(root: PurePath) -> str:
    """Print the clock, then for each attempt's folder its last change and its name; NUL-terminated."""
    return f"""export LC_ALL=C
cd {_q(root)}/w 2>/dev/null || {{ printf 'end\\0'; exit 0; }}
printf '%s\\0' "$(date +%s)"
for d in *; do
  [ -d "$d" ] && [ ! -L "$d" ] || continue
  last=0
  for t in $(stat -c %Y "./$d" "./$d"/* 2>/dev/null); do [ "$t" -le "$last" ] || last=$t; done
  printf '%s %s\\0' "$last" "$d"
done
printf 'end\\0'
"""


def read_attempts(output: bytes) -> list[Found]:
    """What :func:`attempts_program` printed.

    Raises:
        BadAnswerError: it is cut short.
    """
    parts = output.split(b"\0")
    if parts[-2:] != [b"end", b""]:
        raise BadAnswerError("the list of attempts is cut short")
    pairs = [part.split(b" ", 1) for part in parts[1:-2]]
    return [Found(name.decode("utf-8", "surrogateescape"), float(parts[0]) - float(last)) for last, name in pairs]


def give_program(folder: PurePath, user: str) -> str:
    """Give an attempt's tree, if it is there, to ``uid:gid``.

    What is linked into the store stays whose it is, readable by all.
    """
    find = f"find {_q(folder)} \\( -type d -o -type f -links 1 \\) -exec chown -h {quote(user)} {{}} +"
    return f"[ -d {_q(folder)} ] || exit 0\n{find}\n"


def stop_program(probe: Probe) -> str:
    """Kill every process with the mark, and the session of the run script while that is known to be ours.

    Prints the pids that are still there after many tries.
    """
    attempt = quote(probe.attempt)
    return f"""{_MARKED}export LC_ALL=C
leader=; read -r leader 2>/dev/null <{_q(probe.folder / "claim" / "pid")}
[ -n "$leader" ] && [ -n "$(marked {attempt} "/proc/$leader/environ")" ] || leader=
ours() {{
  marked {attempt} /proc/[0-9]*/environ | sed 's,^/proc/,,;s,/environ$,,'
  [ -z "$leader" ] || for s in /proc/[0-9]*/stat; do
    read -r line 2>/dev/null <"$s" || continue
    set -- ${{line##*) }}
    [ "$1" = Z ] || [ "$4" != "$leader" ] || {{ s=${{s#/proc/}}; echo "${{s%/stat}}"; }}
  done
}}
i=0
while pids=$(ours); [ -n "$pids" ] && [ $i -lt 100 ]; do
  kill -9 $pids 2>/dev/null
  i=$((i+1)); [ $i -lt 3 ] || sleep 0.05 2>/dev/null || sleep 1
done
echo $pids
"""


def list_program(probe: Probe, folder: PurePath) -> str:
    """Print the clock, when the claim was taken (or ``never``), and each regular file: ``mtime size name``.

    NUL-terminated.
    """
    return f"""{_HEAD}cd {_q(probe.folder.parent)} || exit 1
claim={_q(probe.folder / "claim")}; [ -d "$claim" ] && claimed=$(mtime "$claim") || claimed=never
printf '%s\\0%s\\0' "$(date +%s)" "$claimed"
cd {_q(folder)} 2>/dev/null || {{ printf 'end\\0'; exit 0; }}
for f in * .[!.]*; do
  [ -f "$f" ] && [ ! -L "$f" ] || continue
  printf '%s %s %s\\0' "$(mtime "./$f")" "$(stat -c %s "./$f")" "$f"
done
printf 'end\\0'
"""


def read_listing(output: bytes) -> Listing:
    """What :func:`list_program` printed.

    Raises:
        BadAnswerError: it is cut short, or a time is missing.
    """
    parts = output.split(b"\0")
    try:
        if parts[-2:] != [b"end", b""]:
            raise BadAnswerError("the list of an attempt's files is cut short")
        now, claimed = float(parts[0]), None if parts[1] == b"never" else float(parts[1])
        files = []
        for part in parts[2:-2]:
            mtime, size, name = part.split(b" ", 2)
            files.append(RemoteFile(name.decode("utf-8", "surrogateescape"), float(mtime), int(size)))
    except (ValueError, IndexError) as error:
        raise BadAnswerError(f"the list of an attempt's files cannot be read: {error}") from error
    return Listing(now, claimed, tuple(sorted(files, key=lambda file: file.name)))


def send_program(folder: PurePath, names: Sequence[str], tool: str, *, compress: bool) -> str:
    """Print the files one after the other, then their sums by ``tool``, a line each."""
    words = " ".join(quote(f"./{name}") for name in names)
    body = f'for f in {words}; do cat "$f" || exit 1; done; for f in {words}; do {tool} <"$f" || exit 1; done'
    return f"export LC_ALL=C\ncd {_q(folder)} || exit 1\n" + (f"{{ {body}; }} | gzip -1\n" if compress else f"{body}\n")


_SUM = re.compile(rb"([0-9a-f]{64,128})\b")


def read_sums(output: bytes, count: int) -> list[str]:
    """The sums at the end of what :func:`send_program` printed.

    Raises:
        BadAnswerError: it is cut short.
    """
    found = [match[1].decode() for line in output.splitlines() if (match := _SUM.match(line))]
    if len(found) != count:
        raise BadAnswerError("the files of an attempt came cut short")
    return found


def below(root: PurePath, path: PurePath) -> bool:
    """Whether a path is really below the root, by its words."""
    return root in path.parents and ".." not in path.parts


def posix_paths(paths: Iterable[PurePath]) -> list[PurePath]:
    """The paths in a list, each checked to have a form that a POSIX host can have."""
    made = list(paths)
    if any("\0" in str(path) or not isinstance(path, PurePosixPath) for path in made):
        raise ValueError("not a path of a POSIX host")
    return made
