"""Names that users of ras-commander know."""

from __future__ import annotations

import re
from pathlib import Path

from ras_runner.errors import InputError
from ras_runner.hecras.paths import find
from ras_runner.hecras.results import message_text
from ras_runner.hecras.text import read_text

_STEP = "read compute messages"


class HdfResultsPlan:
    """Results of a plan, by the name that ras-commander gives it."""

    @staticmethod
    def get_compute_messages(path: Path | str) -> str:
        """The compute messages of a plan.

        Args:
            path: the results HDF, ``<name>.pNN.hdf``.

        Returns:
            The text in the HDF; else that of ``.pNN.computeMsgs.txt`` (6.x) or ``.pNN.comp_msgs.txt`` (5.x) beside
            it; else an empty string.

        Raises:
            InputError: there is neither the HDF nor a message file, or what there is cannot be read.
        """
        hdf = Path(path)
        stem = re.sub(r"(\.tmp)?\.hdf$", "", hdf.name, flags=re.IGNORECASE)
        beside = [find(hdf.parent, f"{stem}.{ending}") for ending in ("computeMsgs.txt", "comp_msgs.txt")]
        files = [file for file in beside if file is not None]
        if not hdf.is_file() and not files:
            raise InputError(
                f"{hdf} does not exist, nor a message file beside it", step=_STEP, action="compute the plan first"
            )
        text, error = _from_hdf(hdf) if hdf.is_file() else ("", None)
        if not text and files:
            return read_text(files[0], step=_STEP)
        if error is not None:
            cause = f"{hdf} cannot be read: {' '.join(str(error).split())}"
            raise InputError(cause, step=_STEP, action="compute the plan again") from error
        return text


def _from_hdf(path: Path) -> tuple[str, Exception | None]:
    import h5py

    try:
        with h5py.File(path, "r", locking=False) as file:
            return message_text(file), None
    except (OSError, RuntimeError, KeyError) as error:
        return "", error
