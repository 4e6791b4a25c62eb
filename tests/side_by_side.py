"""How two processes share the tests (``pytest -n 2``, which ``make test`` gives): groups that stay together, and order.

Most tests wait for something most of the time, so two processes take little more than half as long as one. What one
group needs is started once, and its tests keep their order; all of Windows is one group, the one that computes most.
Groups go to whichever process is free, the longest first and single files last, lest one of them ends alone.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from xdist.scheduler import LoadScopeScheduling

#: Groups that are more than a file, the longest first: folders below tests/, and rows of the conformance suite (the
#: first word of their names).
GROUPS = {
    "windows": ("wine", "windows", "winrm", "psexec"),
    "docker": ("docker", "burst"),
    "slurm": ("slurm",),
    "ssh": ("ssh",),
    "terraform": ("terraform",),
    "dask": ("dask",),
    "local": ("local",),
}
_GROUP_OF = {member: group for group, members in GROUPS.items() for member in members}
_ORDER = list(GROUPS)


def group_of(node: str) -> str:
    """The group of a test by its id; a file is a group of its own when it belongs to no other."""
    file, _, test = node.partition("::")
    words = PurePosixPath(file).parts
    member = words[1]
    if member == "conformance":
        member = test.partition("[")[2].rstrip("]").partition("-")[0]
    return _GROUP_OF.get(member, file)


def rank(node: str) -> int:
    """Where the group of a test comes: sorts the tests into the order in which processes take them."""
    group = group_of(node)
    return _ORDER.index(group) if group in GROUPS else len(GROUPS)


class SideBySide(LoadScopeScheduling):
    """Gives processes one group after the other."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)
