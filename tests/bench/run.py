"""What the runner costs, beside others: writes docs/benchmarks.md. ``make bench``; about twenty minutes.

Each part is a program of its own beside this one: what one starts is not among the descendants that another waits for.
It prints its part of the page. ``--only throughput,pool`` measures these anew and leaves the others as they are;
``--quick`` measures ten plans without the peer, and writes nothing.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from page import machine, with_part

HERE = Path(__file__).resolve().parent
PAGE = HERE.parents[1] / "docs" / "benchmarks.md"
#: Parts in the order of the page; each is the program of its name.
PARTS = ("overhead", "throughput", "pool", "large", "remote", "windows")


def measure(part: str) -> bool:
    """Measure a part and put it into the page; False when it could not be measured: then the page stays as it is."""
    print(f"{part}:", flush=True)
    load = os.getloadavg()[0]
    done = subprocess.run(
        [sys.executable, str(HERE / f"{part}.py")], stdout=subprocess.PIPE, encoding="utf-8", check=False
    )
    if done.returncode != 0:
        print(f"{part}: not measured, exit code {done.returncode}; its part of the page stays", file=sys.stderr)
        return False
    page = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    text = f"{done.stdout.strip()}\n\n{machine(load)}"
    PAGE.write_text(with_part(page, PARTS, part, text), encoding="utf-8", newline="\n")
    print(text, flush=True)
    return True


def main() -> int:
    """Measure; 0 when all could be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help=f"parts, with commas between; all when left out: {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="ten plans, without the peer; writes nothing")
    options = parser.parse_args()
    if options.quick:
        return subprocess.run([sys.executable, str(HERE / "overhead.py"), "--quick"], check=False).returncode
    chosen = options.only.split(",") if options.only else PARTS
    if unknown := [name for name in chosen if name not in PARTS]:
        parser.error(f"no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    missed = [part for part in chosen if not measure(part)]
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
