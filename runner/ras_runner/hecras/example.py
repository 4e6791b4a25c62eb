"""Writes an example HEC-RAS project: a made-up creek, for demonstrations, tests and benchmarks.

One reach of twenty cross-sections in a winding valley, two geometries (existing, and with a levee and a raised
floodplain), three unsteady flow files, a steady one, and any number of plans that combine them. Everything is text as
HEC-RAS writes it: Latin-1, CRLF, numbers in columns of eight.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from ras_runner.errors import InputError

RIVER, REACH = "Bear Creek", "Main"

_SECTIONS = 20
#: Distance between sections along the channel, ft, and fall of the bed, ft/ft.
_SPACING = 500.0
_SLOPE = 0.0008
_DOWNSTREAM_INVERT = 640.0
#: Depth of the channel below its banks, ft.
_BANK = 9.0

#: Peak and tributary flow of the unsteady flow files u01, u02, u03, cfs; the base flow is the same.
_BASE_FLOW = 600.0
_FLOODS = (
    ("Small flood", 3000.0, 0.0),
    ("Ten year flood", 5500.0, 0.0),
    ("Large flood with tributary", 7500.0, 1200.0),
)
_PROFILES = (("Base flow", 600.0), ("Bankfull", 3000.0), ("Large flood", 8000.0))
_GEOMETRIES = ("Existing", "Levee and fill")
#: What the plans cycle through: number of the geometry and the flow file (None: the steady one).
_CYCLE = ((1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3), (1, None))
DEFAULT_PLANS = len(_CYCLE)
MAX_PLANS = 99

_FORBIDDEN = set('<>:"/\\|?*') | {chr(code) for code in range(32)}


def write_example_project(folder: Path, name: str = "Bear Creek", plans: int = DEFAULT_PLANS) -> Path:
    """Write the example project into ``folder``, which is made if it does not exist.

    Writing the same project again changes nothing.

    Args:
        folder: where the project goes.
        name: file name of the project without extension, also its title.
        plans: how many plans, 1 to 99 (HEC-RAS numbers them p01 to p99). They cycle through six combinations of
            geometry and unsteady flow and a steady plan; the last of each seven is the steady one.

    Returns:
        Path of the ``.prj`` file.

    Raises:
        InputError: ``name`` is not a file name, ``plans`` is out of range, or a file of a different project would be
            overwritten.
    """
    step = "write example project"
    if not 1 <= plans <= MAX_PLANS:
        raise InputError(
            f"{plans} plans", action=f"ask for 1 to {MAX_PLANS}: HEC-RAS numbers plans p01 to p99", step=step
        )
    if not name.strip(" .") or _FORBIDDEN & set(name) or name != name.strip(" ."):
        raise InputError(f"{name!r} cannot be a file name on Windows", action="choose another project name", step=step)
    files = {f"{name}.{extension}": _encode(lines) for extension, lines in _project(name, plans).items()}
    for file, content in files.items():
        path = folder / file
        if path.exists() and path.read_bytes() != content:
            raise InputError(
                f"{path} exists and is another project's",
                action="choose an empty folder or another project name",
                step=step,
            )
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        if not (folder / file).exists():
            (folder / file).write_bytes(content)
    return folder / f"{name}.prj"


def _encode(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1", "replace")


def _project(name: str, plans: int) -> dict[str, list[str]]:
    """Extension -> lines, of every file of the project."""
    files = {"prj": _prj(name, plans)}
    for number, title in enumerate(_GEOMETRIES, 1):
        files[f"g{number:02d}"] = _geometry(title, altered=number == 2)
    for number, (title, peak, tributary) in enumerate(_FLOODS, 1):
        files[f"u{number:02d}"] = _unsteady_flow(title, peak, tributary)
    files["f01"] = _steady_flow()
    for number in range(1, plans + 1):
        geometry, flow = _CYCLE[(number - 1) % len(_CYCLE)]
        files[f"p{number:02d}"] = _plan(number, geometry, flow)
    return files


def _prj(name: str, plans: int) -> list[str]:
    return [
        f"Proj Title={name}",
        "Current Plan=p01",
        "Default Exp/Contr=0.3,0.1",
        "English Units",
        *(f"Geom File=g{number:02d}" for number in range(1, len(_GEOMETRIES) + 1)),
        *(f"Unsteady File=u{number:02d}" for number in range(1, len(_FLOODS) + 1)),
        "Flow File=f01",
        *(f"Plan File=p{number:02d}" for number in range(1, plans + 1)),
        "Y Axis Title=Elevation",
        "X Axis Title(PF)=Main Channel Distance",
        "X Axis Title(XS)=Station",
        "BEGIN DESCRIPTION:",
        "A made-up creek, written by ras-runner for demonstrations and tests.",
        "END DESCRIPTION:",
        "DSS File=dss",
    ]


def _columns(values: Sequence[float], width: int = 8, per_line: int = 10, digits: int = 2) -> list[str]:
    """Lines of ``values`` in columns of ``width`` characters."""
    fields = [f"{value:.{digits}f}".rstrip("0").rstrip(".").rjust(width) for value in values]
    return ["".join(fields[at : at + per_line]) for at in range(0, len(fields), per_line)]


def _station(index: int) -> str:
    """River station of section ``index`` (0 is the most upstream one): feet above the downstream end."""
    return f"{(_SECTIONS - 1 - index) * _SPACING:g}"


def _place(index: int) -> tuple[float, float, float]:
    """Plan coordinates of the channel at section ``index``, and its direction (radians)."""
    x = y = 0.0
    for step in range(index):
        heading = _heading(step)
        x, y = x + _SPACING * math.cos(heading), y + _SPACING * math.sin(heading)
    return 10_000.0 + x, 5_000.0 + y, _heading(index)


def _heading(index: int) -> float:
    return 0.45 * math.sin(0.6 * index)


def _lengths(index: int) -> tuple[float, float, float]:
    """Distances to the next section: left overbank, channel, right overbank; the inside of a bend is shorter."""
    if index == _SECTIONS - 1:
        return 0.0, 0.0, 0.0
    bend = 150.0 * (_heading(index + 1) - _heading(index))
    return _SPACING - bend, _SPACING, _SPACING + bend


def _ground(index: int, *, altered: bool) -> list[tuple[float, float]]:
    """Ground points (station, elevation) of a section, ft."""
    bed = _DOWNSTREAM_INVERT + (_SECTIONS - 1 - index) * _SPACING * _SLOPE
    bank = bed + _BANK
    left, right = 260 + 30 * math.sin(index), 300 + 40 * math.cos(0.7 * index)
    half = 42 + 3 * math.sin(1.3 * index)
    fill = 1.5 if altered and 6 <= index <= 13 else 0.0
    center = 40 + left + half
    points = [
        (0, bank + 14),
        (40, bank + 3.5 + fill),
        (40 + 0.5 * left, bank + 1.2 + fill),
        (center - half, bank),
        (center - half + 14, bed + 1.5),
        (center - 0.3 * half, bed),
        (center + 0.3 * half, bed + 0.2),
        (center + half - 14, bed + 1.4),
        (center + half, bank),
        (center + half + 0.5 * right, bank + 1),
        (center + half + right, bank + 3.2),
        (center + half + right + 40, bank + 14),
    ]
    return [(round(station, 2), round(elevation, 2)) for station, elevation in points]


def _geometry(title: str, *, altered: bool) -> list[str]:
    points = [coordinate for index in range(_SECTIONS) for coordinate in _place(index)[:2]]
    lines = [
        f"Geom Title={title}",
        "Program Version=6.60",
        "Viewing Rectangle= 9500 , 20000 , 7000 , 3000 ",
        "",
        f"River Reach={RIVER:<16},{REACH:<16}",
        f"Reach XY= {_SECTIONS} ",
        *_columns(points, width=16, per_line=4),
        "Rch Text X Y=15000,5500",
        "Reverse River Text= 0 ",
        "",
    ]
    for index in range(_SECTIONS):
        lines += _section(index, altered=altered)
    return lines


def _section(index: int, *, altered: bool) -> list[str]:
    ground = _ground(index, altered=altered)
    left_bank, right_bank = ground[3][0], ground[8][0]
    x, y, heading = _place(index)
    middle = 0.5 * (left_bank + right_bank)
    across = (-math.sin(heading), math.cos(heading))
    # Left of the stream, looking downstream, is 90 degrees counter-clockwise of its direction.
    ends = [(x + across[0] * offset, y + across[1] * offset) for offset in (middle, middle - ground[-1][0])]
    lengths = ",".join(f"{length:.1f}" for length in _lengths(index))
    roughness = [
        0,
        0.075 + 0.01 * math.sin(index),
        0,
        left_bank,
        0.037,
        0,
        right_bank,
        0.065 - 0.008 * math.cos(index),
        0,
    ]
    return [
        f"Type RM Length L Ch R = 1 ,{_station(index):<8},{lengths}",
        "BEGIN DESCRIPTION:",
        "END DESCRIPTION:",
        "XS GIS Cut Line=2",
        *_columns([coordinate for end in ends for coordinate in end], width=16, per_line=4),
        "Node Last Edited Time=Jan/01/2026 00:00:00",
        f"#Sta/Elev= {len(ground)} ",
        *_columns([number for point in ground for number in point]),
        "#Mann= 3 , 0 , 0 ",
        *_columns(roughness, per_line=9, digits=4),
        *_obstacles(index, ground, altered=altered),
        f"Bank Sta={left_bank:.2f},{right_bank:.2f}",
        "XS Rating Curve= 0 ,0",
        f"XS HTab Starting El and Incr={ground[5][1] + 0.5:.2f},0.5, 60 ",
        "XS HTab Horizontal Distribution= 5 , 5 , 5 ",
        "Exp/Cntr=0.3,0.1",
        "",
    ]


def _obstacles(index: int, ground: list[tuple[float, float]], *, altered: bool) -> list[str]:
    """Side ponds that store water but do not carry it; in the altered geometry two buildings and a levee."""
    lines = []
    if index in (4, 15):
        lines += ["#XS Ineff= 1 , 0 ", *_columns([0, ground[2][0], ground[2][1] + 1.5]), "Permanent Ineff=", "       F"]
    if altered and index in (9, 10):
        lines += ["#Block Obstruct= 1 , 0 ", *_columns([60, 110, ground[2][1] + 4])]
    if altered:
        lines.append(f"Levee=0,,,-1,{ground[9][0]:.2f},{ground[9][1] + 8:.2f}")
    return lines


def _hydrograph(base: float, peak: float) -> list[float]:
    """Hourly flows of a flood with its peak after eight hours, 25 values (a gamma curve on a base flow)."""
    shape = [(hour / 8) ** 3 * math.exp(3 * (1 - hour / 8)) for hour in range(25)]
    return [round(base + (peak - base) * value, 1) for value in shape]


def _boundary(station: str) -> str:
    blanks = ",".join(" " * width for width in (8, 16, 16, 16, 32))
    return f"Boundary Location={RIVER:<16},{REACH:<16},{station:<8},{blanks}"


def _unsteady_flow(title: str, peak: float, tributary: float) -> list[str]:
    table_end = ["Stage Hydrograph TW Check=0", "DSS Path=", "Use DSS=False", "Use Fixed Start Time=False",
                 "Fixed Start Date/Time=,", "Is Critical Boundary=False", "Critical Boundary Flow="]  # fmt: skip
    upstream = _hydrograph(_BASE_FLOW, peak)
    lines = [
        f"Flow Title={title}",
        "Program Version=6.60",
        "Use Restart= 0 ",
        f"Initial Flow Loc={RIVER:<16},{REACH:<16},{_station(0):<8},{_BASE_FLOW:g}",
        _boundary(_station(0)),
        "Interval=1HOUR",
        f"Flow Hydrograph= {len(upstream)} ",
        *_columns(upstream),
        *table_end,
    ]
    if tributary:
        inflow = _hydrograph(0.0, tributary)
        lines += [_boundary(_station(8)), "Interval=1HOUR", f"Lateral Inflow Hydrograph= {len(inflow)} "]
        lines += [*_columns(inflow), *table_end[1:5]]
    return [*lines, _boundary(_station(_SECTIONS - 1)), f"Friction Slope={_SLOPE:g},0"]


def _steady_flow() -> list[str]:
    lines = [
        "Flow Title=Three profiles",
        "Program Version=6.60",
        f"Number of Profiles= {len(_PROFILES)} ",
        f"Profile Names={','.join(name for name, _ in _PROFILES)}",
        f"River Rch & RM={RIVER},{REACH:<16},{_station(0):<8}",
        *_columns([flow for _, flow in _PROFILES]),
    ]
    for number in range(1, len(_PROFILES) + 1):
        lines += [f"Boundary for River Rch & Prof#={RIVER},{REACH:<16}, {number} "]
        lines += ["Up Type= 0 ", "Dn Type= 3 ", f"Dn Slope={_SLOPE:g}"]
    return lines


def _plan(number: int, geometry: int, flow: int | None) -> list[str]:
    event = _FLOODS[flow - 1][0] if flow else "steady profiles"
    lines = [
        f"Plan Title={number:02d} {_GEOMETRIES[geometry - 1]} - {event}",
        "Program Version=6.60",
        f"Short Identifier={f'Plan {number:02d}':<64}",
        "Simulation Date=01JAN2026,0000,02JAN2026,0000",
        f"Geom File=g{geometry:02d}",
        f"Flow File=u{flow:02d}" if flow else "Flow File=f01",
        "Subcritical Flow",
        "K Sum by GR= 0 ",
        "Std Step Tol= 0.01 ",
        "Critical Tol= 0.01 ",
        "Num of Std Step Trials= 20 ",
        "Max Error Tol= 0.3 ",
        "Flow Tol Ratio= 0.001 ",
        "Friction Slope Method= 1 ",
        "Parabolic Critical Depth",
        "CheckData=True",
        "Encroach Param=-1 ,0,0, 0 ",
        "Computation Interval=1MIN",
        "Output Interval=10MIN",
        "Instantaneous Interval=10MIN",
        "Mapping Interval=10MIN",
        f"Run HTab={-1 if flow else 0:2d} ",
        f"Run UNet={-1 if flow else 0:2d} ",
        "Run Sediment= 0 ",
        f"Run PostProcess={-1 if flow else 0:2d} ",
        "Run WQNet= 0 ",
        "Run RASMapper= 0 ",
    ]
    if flow:
        lines += [
            "UNET Theta= 1 ",
            "UNET Theta Warmup= 1 ",
            "UNET ZTol= 0.02 ",
            "UNET ZSATol= 0.02 ",
            "UNET MxIter= 20 ",
            "UNET Gravity=32.174",
            "UNET 1D Methodology=Finite Difference",
            "UNET DZMax Abort= 100 ",
            "UNET D1 Cores= 0 ",
            "UNET D2 Cores= 0 ",
            "PS Cores= 0 ",
        ]
    return [
        *lines,
        "DSS File=dss",
        "Write IC File= 0 ",
        "Echo Input=False",
        "Write Detailed= 1 ",
        "HDF Compression= 1 ",
    ]
