"""What our program ``facts`` answers on a simulated Windows host."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.simulators.windows_host.state import HostState

ADMINISTRATORS = "S-1-5-32-544"


def facts(state: HostState, user: str) -> dict[str, Any]:
    """The answer, for an account that has logged on from the network."""
    full = bool(state.admins)
    return {
        "computer": "SIMULATED",
        "build": 19045,
        "user": f"SIMULATED\\{user.rpartition(chr(92))[2]}",
        "sids": ["S-1-5-21-1-2-3-1001", "S-1-1-0", *([ADMINISTRATORS] if full else [])],
        "administrator": full,
        "token_filter_policy": 1 if full else None,
        "remote_registry": list(state.remote_registry),
        "sessions": state.session_table(),
        "rights": state.rights,
        "ras_exe": state.ras_exe,
        "folder_exists": True,
        "free": state.free,
        "cores": 8,
        "memory": 16 << 30,
        "now": time.time() + state.ahead,
    }
