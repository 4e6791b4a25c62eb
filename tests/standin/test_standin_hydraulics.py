"""Hydraulics that can be checked by hand or by conservation."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ras_standin.flow_text import Boundary
from ras_standin.geometry import Block, CrossSection, Levee
from ras_standin.section import CHANNEL, LEFT, RIGHT, SectionHydraulics
from ras_standin.steady import critical_stage, normal_stage, profile
from ras_standin.units import SI, US_CUSTOMARY, Units
from ras_standin.unsteady import Controls, Downstream, Reach, UnstableError

SLOPE = 0.001


def _channel(index: int = 0, count: int = 1, width: float = 100.0, spacing: float = 500.0) -> CrossSection:
    """Section ``index`` of a rectangular channel without overbanks."""
    bed = 10.0 + (count - 1 - index) * spacing * SLOPE
    ground = np.array([(0.0, bed + 20), (0.0, bed), (width, bed), (width, bed + 20)])
    length = 0.0 if index == count - 1 else spacing
    roughness = np.array([(0.0, 0.03)])
    return CrossSection("R", "r", str(count - index), ground, roughness, 0.0, width, (length,) * 3)


def _reach(units: Units = US_CUSTOMARY, count: int = 12) -> list[SectionHydraulics]:
    return [SectionHydraulics(_channel(index, count), units) for index in range(count)]


def test_rectangle_by_hand() -> None:
    found = SectionHydraulics(_channel(), US_CUSTOMARY).at(np.array([14.0]))
    area, perimeter = 400.0, 108.0
    assert found.total_area[0] == pytest.approx(area)
    assert found.perimeter[0].sum() == pytest.approx(perimeter)
    assert found.total_conveyance[0] == pytest.approx(1.48592 / 0.03 * area ** (5 / 3) / perimeter ** (2 / 3), rel=1e-5)
    assert found.alpha[0] == found.beta[0] == pytest.approx(1.0)


def test_walls_hold_water_above_the_ends_of_the_ground() -> None:
    found = SectionHydraulics(_channel(), US_CUSTOMARY).at(np.array([35.0]))
    assert found.total_area[0] == pytest.approx(2500.0)
    assert found.perimeter[0].sum() == pytest.approx(100 + 2 * 25)


def test_zones_and_velocity_head_coefficient() -> None:
    section = replace(
        _channel(), left_bank=30.0, right_bank=70.0, roughness=np.array([(0, 0.1), (30, 0.03), (70, 0.1)])
    )
    found = SectionHydraulics(section, US_CUSTOMARY).at(np.array([14.0]))
    assert found.area[0] == pytest.approx([120, 160, 120])
    assert found.conveyance[0, CHANNEL] == pytest.approx(1.48592 / 0.03 * 160 * 4 ** (2 / 3), rel=1e-5)
    assert found.conveyance[0, LEFT] == pytest.approx(found.conveyance[0, RIGHT])
    assert found.alpha[0] > found.beta[0] > 1


def test_ineffective_area_stores_but_does_not_carry_until_overtopped() -> None:
    section = replace(_channel(), ineffective=(Block(0, 40, 15.0),))
    found = SectionHydraulics(section, US_CUSTOMARY).at(np.array([15.0, 15.01]))
    assert found.total_area == pytest.approx([300.0, 501.0])
    assert found.area_all.sum(axis=1) == pytest.approx([500.0, 501.0])
    assert found.perimeter[0].sum() == pytest.approx(60 + 5)


def test_levee_keeps_the_land_behind_it_dry_until_overtopped() -> None:
    section = replace(_channel(), right_levee=Levee(60.0, 15.0), left_levee=Levee(20.0, 16.0))
    found = SectionHydraulics(section, US_CUSTOMARY).at(np.array([15.0, 15.5, 16.5]))
    assert found.area_all.sum(axis=1) == pytest.approx([40 * 5, 80 * 5.5, 100 * 6.5])


def test_obstruction_takes_area_and_adds_its_walls() -> None:
    section = replace(_channel(), obstructions=(Block(40, 60, 12.0),))
    found = SectionHydraulics(section, US_CUSTOMARY).at(np.array([14.0, 11.0]))
    assert found.total_area == pytest.approx([400 - 40, 80])
    assert found.perimeter.sum(axis=1) == pytest.approx([108 + 4, 80 + 2 + 2])


def test_encroachment_cuts_with_vertical_walls() -> None:
    found = SectionHydraulics(_channel().encroached(20, 70), US_CUSTOMARY).at(np.array([14.0]))
    assert found.total_area[0] == pytest.approx(200)
    assert found.perimeter[0].sum() == pytest.approx(50 + 8)


@pytest.mark.parametrize("units", [US_CUSTOMARY, SI])
def test_critical_depth_of_a_rectangle(units: Units) -> None:
    flow = 4000.0
    expected = 10 + ((flow / 100) ** 2 / units.gravity) ** (1 / 3)
    assert critical_stage(SectionHydraulics(_channel(), units), flow) == pytest.approx(expected, abs=2e-3)


def test_normal_depth_carries_the_flow() -> None:
    section = SectionHydraulics(_channel(), US_CUSTOMARY)
    stage = normal_stage(section, 3000.0, SLOPE)
    assert section.at(stage).total_conveyance[0] * SLOPE**0.5 == pytest.approx(3000.0, rel=1e-4)


def test_uniform_channel_has_a_uniform_profile() -> None:
    sections = _reach()
    stage = normal_stage(sections[-1], 3000.0, SLOPE)
    found = profile(sections, np.full(12, 3000.0), stage)
    depths = found.stage - np.array([section.invert for section in sections])
    assert depths == pytest.approx(np.full(12, stage - 10), abs=1e-3)


def test_profile_falls_back_to_critical_where_no_subcritical_answer_exists() -> None:
    steep = [replace(_channel(i, 2), ground=np.add(_channel(i, 2).ground, (0, 40.0 * (i == 0)))) for i in range(2)]
    sections = [SectionHydraulics(section, US_CUSTOMARY) for section in steep]
    found = profile(sections, np.full(2, 3000.0), 15.0)
    assert found.at_critical.tolist() == [True, False]
    assert found.stage[0] == found.critical[0]


def test_backwater_of_a_known_stage_dies_out_upstream() -> None:
    sections = _reach(count=60)
    normal = normal_stage(sections[-1], 3000.0, SLOPE) - 10
    found = profile(sections, np.full(60, 3000.0), 10 + normal + 3)
    depths = found.stage - np.array([section.invert for section in sections])
    assert depths[-1] > depths[30] > normal
    assert depths[0] == pytest.approx(normal, abs=0.01)


def _start(flow: float = 1000.0, theta: float = 1.0) -> Reach:
    reach = Reach(_reach(), 0.25, Controls(theta=theta, tolerance=0.01))
    reach.start(np.full(12, flow), Downstream(slope=SLOPE))
    return reach


@given(
    flows=st.lists(st.floats(200, 6000), min_size=2, max_size=6),
    theta=st.sampled_from([0.6, 0.8, 1.0]),
    lateral=st.floats(0, 300),
)
@settings(max_examples=15, deadline=None, derandomize=True)
def test_no_water_is_lost(flows: list[float], theta: float, lateral: float) -> None:
    reach, step = _start(flows[0], theta), 60.0
    inflow = np.interp(np.arange(1, 61), np.linspace(0, 60, len(flows)), flows)
    side = np.zeros(11)
    side[4] = lateral
    start, entered, left = reach.volume(), 0.0, 0.0
    for flow in inflow:
        before = reach.flow
        reach.advance(step, float(flow), Downstream(slope=SLOPE), side)
        through = theta * reach.flow + (1 - theta) * before
        entered += step * (through[0] + lateral)
        left += step * through[-1]
    assert abs(start + entered - left - reach.volume()) / (start + entered) < 1e-5


def test_constant_inflow_ends_in_the_steady_profile() -> None:
    reach = _start(1000.0)
    for _ in range(400):
        reach.advance(60.0, 3000.0, Downstream(slope=SLOPE))
    sections = _reach()
    steady = profile(sections, np.full(12, 3000.0), normal_stage(sections[-1], 3000.0, SLOPE))
    assert reach.flow == pytest.approx(np.full(12, 3000.0), rel=1e-4)
    assert reach.stage == pytest.approx(steady.stage, abs=0.01)
    total, channel = reach.velocities()
    assert total == pytest.approx(channel, rel=1e-3)


def test_newton_converges_quadratically() -> None:
    reach = Reach(_reach(), 0.25, Controls(tolerance=1e-8))
    reach.start(np.full(12, 1000.0), Downstream(slope=SLOPE))
    # A term that is wrong in the Jacobian still converges, but needs six iterations a step and more.
    assert max(reach.advance(60.0, 2500.0, Downstream(slope=SLOPE)).iterations for _ in range(20)) <= 5


def test_volume_counts_the_water_in_ineffective_areas() -> None:
    sections = [
        SectionHydraulics(replace(_channel(i, 2), ineffective=(Block(0, 40, 30.0),)), US_CUSTOMARY) for i in range(2)
    ]
    reach = Reach(sections, 0.25, Controls())
    reach.start(np.full(2, 1000.0), Downstream(stage=14.0))
    depths = reach.stage - [10.5, 10.0]
    assert reach.volume() == pytest.approx(500 * 100 * depths.mean(), rel=1e-3)


def test_stage_boundary_is_kept() -> None:
    reach = _start(1000.0)
    for level in np.linspace(reach.stage[-1], 18.0, 60):
        reach.advance(60.0, 1000.0, Downstream(stage=float(level)))
    assert reach.stage[-1] == pytest.approx(18.0, abs=1e-6)
    assert reach.flow[-1] < 1000.0  # the reach fills


def test_error_above_the_abort_limit_is_unstable() -> None:
    reach = Reach(_reach(), 0.25, Controls(max_iterations=1, abort_error=0.1))
    reach.start(np.full(12, 1000.0), Downstream(slope=SLOPE))
    with pytest.raises(UnstableError) as caught:
        reach.advance(60.0, 30000.0, Downstream(slope=SLOPE))
    assert caught.value.error > 0.1


def test_hydrograph_interpolates_scales_and_starts_when_told() -> None:
    begin = datetime(2026, 1, 1)
    boundary = Boundary("R", "r", "1", values=np.array([100.0, 200.0]), interval=3600.0)
    assert boundary.at(np.array([1800.0]), begin)[0] == 150.0
    boundary.multiplier, boundary.minimum = 2.0, 350.0
    assert boundary.at(np.array([0.0, 3600.0]), begin).tolist() == [350.0, 400.0]
    boundary.start = datetime(2026, 1, 1, 1)
    assert boundary.covers(datetime(2026, 1, 1, 1), datetime(2026, 1, 1, 2))
    assert not boundary.covers(begin, datetime(2026, 1, 1, 2))
    assert not boundary.covers(datetime(2026, 1, 1, 1), datetime(2026, 1, 1, 2, 1))
