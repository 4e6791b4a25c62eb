"""Names that Windows cannot have."""

from __future__ import annotations

from pathlib import PureWindowsPath

import pytest

from ras_runner.errors import InputError
from ras_runner.transports.windows_names import check_windows_paths, name_problem

ROOT = PureWindowsPath(r"C:\RasRemote")


@pytest.mark.parametrize(
    "name",
    ["CON", "aux.p01", "Nul.txt", "com1", "LPT9.hdf", "prn .x", "dot.", "space ", "a:b", "what?", 'q"', "tab\t", "a|b"],
)
def test_refused(name: str):
    assert name_problem(name)
    with pytest.raises(InputError, match="Windows cannot have"):
        check_windows_paths([ROOT / "w" / "a" / name], ROOT)


@pytest.mark.parametrize("name", ["Muncie.p04", "CONcrete.prj", "auxiliary.u01", "Río & (1) 100%.prj", "com10", ".x"])
def test_allowed(name: str):
    assert name_problem(name) == ""
    check_windows_paths([ROOT / "w" / "a" / name], ROOT)


def test_a_folder_on_the_way_counts_and_the_worker_folder_does_not():
    with pytest.raises(InputError, match="'nul'"):
        check_windows_paths([ROOT / "p" / "nul" / "x.dss"], ROOT)
    check_windows_paths([PureWindowsPath(r"C:\aux\w\x")], PureWindowsPath(r"C:\aux"))


def test_paths_end_at_259_characters():
    path = ROOT / ("x" * (259 - len(str(ROOT)) - 1))
    check_windows_paths([path], ROOT)
    with pytest.raises(InputError, match="has 260 characters; HEC-RAS on Windows takes 259"):
        check_windows_paths([path.with_name(path.name + "x")], ROOT, "pc7")
