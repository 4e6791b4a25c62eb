"""Projects and plans: what they say, and what a broken one is told."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.hecras.builders import ESRI, PLAN, PROJECT, project, write

from ras_runner.errors import InputError
from ras_runner.hecras.plan import FlowType, edited_plan, set_current_plan
from ras_runner.hecras.project import Project, plan_number

latin1 = st.text(st.characters(codec="latin-1"), max_size=200)


def test_a_real_project(muncie: Path) -> None:
    opened = Project.open(muncie)
    assert (opened.title, opened.units, opened.current_plan) == ("Muncie 2D Flow Area", "US Customary", "04")
    assert opened.plan_numbers == ("01", "03", "04")
    assert Project.open(muncie / "Muncie.prj") == opened
    (plan,) = opened.plans()
    assert (plan.number, plan.geometry, plan.flow, plan.flow_type) == ("04", "g04", "u01", FlowType.UNSTEADY)
    assert (plan.title, plan.short_id) == ("Unsteady Run with 2D 50ft User n Value R", "RESULTS")
    assert (plan.start, plan.end) == (datetime(1900, 1, 2), datetime(1900, 1, 3))
    assert plan.computation_interval == timedelta(seconds=10)
    assert plan.output_interval == plan.mapping_interval == timedelta(minutes=5)
    assert plan.cores.meshes == {"2D Interior Area": 0}
    assert plan.flags.htab and plan.flags.unet and not plan.flags.rasmapper and not plan.flags.write_detailed


@pytest.mark.parametrize("text", ["4", "04", "p04", "P4", " 004 "])
def test_plan_numbers_in_every_spelling(text: str) -> None:
    assert plan_number(text) == "04"


@pytest.mark.parametrize("text", ["", "0", "100", "-1", "x", "p", "4.5", "٤", "../4"])
def test_what_is_no_plan_number_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is not a plan number"):
        plan_number(text)


def test_cores_of_each_mesh(tmp_path: Path) -> None:
    cores = Project.open(project(tmp_path)).plan("1").cores
    assert (cores.d1, cores.d2, cores.ps, cores.meshes) == (0, 0, 0, {"Lower area": 0, "Upper area": 3})


@pytest.mark.parametrize(("flow", "kind"), [("f02", FlowType.STEADY), ("Q01", FlowType.QUASI_UNSTEADY)])
def test_the_flow_file_tells_the_kind(tmp_path: Path, flow: str, kind: FlowType) -> None:
    text = PLAN.replace("u01", flow).replace("02JAN1900,0000,02JAN1900,2400", ",,,")
    plan = Project.open(project(tmp_path, plan=text)).plan("1")
    assert (plan.flow, plan.flow_type, plan.start, plan.end) == (flow.lower(), kind, None, None)


@pytest.mark.parametrize("title", ["a \"b\" & 100% $HOME `x` 'y' ;|<>", "Überlauf ½", "漢字", "tab\there\u2028line"])
def test_titles_with_anything_in_them(tmp_path: Path, title: str) -> None:
    path = project(tmp_path)
    (tmp_path / "Model.p01").write_bytes(PLAN.replace("A plan", title).encode())
    read = Project.open(path).plan("1").title
    assert read == title.replace("\t", " ").replace("\u2028", " ")
    assert read.isprintable()


def test_names_are_found_in_any_case(tmp_path: Path) -> None:
    project(tmp_path)
    (tmp_path / "Model.p01").rename(tmp_path / "MODEL.P01")
    assert Project.open(tmp_path).plan("1").title == "A plan"


def test_a_map_projection_beside_the_project_is_no_project(tmp_path: Path) -> None:
    path = project(tmp_path)
    write(tmp_path / "NAD83.prj", ESRI)
    assert Project.open(tmp_path).prj == path


def refused(path: Path | str, *words: str) -> None:
    with pytest.raises(InputError) as caught:
        Project.open(path)
    assert caught.value.action
    assert caught.value.step
    assert caught.value.host == ""
    for word in words:
        assert word in str(caught.value)


def test_what_is_no_project_is_refused(tmp_path: Path) -> None:
    refused(tmp_path / "absent", "absent", "does not exist")
    refused(tmp_path, "no HEC-RAS project")
    refused("a\0b", "does not exist")
    refused("x" * 5000)
    refused(write(tmp_path / "Model.p01", PLAN), "Model.p01", "not a .prj")
    refused(write(tmp_path / "NAD83.prj", ESRI), "map projection")
    refused(tmp_path, "NAD83.prj")


def test_two_projects_in_one_folder_are_both_named(tmp_path: Path) -> None:
    project(tmp_path)
    project(tmp_path, name="Other")
    refused(tmp_path, "Model.prj", "Other.prj")
    assert Project.open(tmp_path / "Other.prj").name == "Other"


@pytest.mark.parametrize(
    "key", ["Plan File", "Geom File", "Unsteady File", "Flow File", "QuasiSteady File", "Current Plan"]
)
@pytest.mark.parametrize("value", ["..\\..\\etc\\passwd", "/etc/passwd", "p1", "p001", "..", "p0\u0661"])
def test_components_are_never_paths(tmp_path: Path, key: str, value: str) -> None:
    prj = project(tmp_path)
    prj.write_bytes((PROJECT.replace("Current Plan=p01\n", "") + f"{key}={value}\n").encode())
    refused(tmp_path, "Model.prj", key)


def broken(tmp_path: Path, text: str) -> str:
    with pytest.raises(InputError) as caught:
        Project.open(project(tmp_path, plan=text)).plans()
    assert caught.value.action
    assert "Model.p01" in caught.value.cause
    return caught.value.cause


def test_broken_plans_are_refused(tmp_path: Path) -> None:
    assert "cut off" in broken(tmp_path, "Plan Title=x\nProgram Ver")
    assert "Geom File" in broken(tmp_path, PLAN.replace("g01", "..\\..\\etc\\passwd"))
    assert "Flow File" in broken(tmp_path, PLAN.replace("u01", "C:\\u01"))
    assert "31FEB1900" in broken(tmp_path, PLAN.replace("02JAN1900,0000", "31FEB1900,0000"))
    assert "before it starts" in broken(tmp_path, PLAN.replace("02JAN1900,2400", "01JAN1900,2300"))
    assert "10LY" in broken(tmp_path, PLAN.replace("10SEC", "10LY"))
    assert "NUL" in broken(tmp_path, PLAN + "\0")


def test_a_plan_that_is_not_there_lists_those_that_are(tmp_path: Path) -> None:
    opened = Project.open(project(tmp_path, prj=PROJECT + "Plan File=p02\n"))
    with pytest.raises(InputError, match=r"(?s)plan 07 is not listed.*exist: 01"):
        opened.plan("7")
    with pytest.raises(InputError, match=r"(?s)plan 02 is listed, but its file does not exist.*exist: 01"):
        opened.plan("p02")
    assert [plan.number for plan in opened.plans()] == ["01"]
    (tmp_path / "Model.p01").unlink()
    with pytest.raises(InputError, match="no plan to run"):
        opened.plans()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(PLAN.split("\n")).map(lambda line: line.partition("=")[0]), latin1), max_size=6),
    latin1,
)
def test_no_plan_text_is_a_traceback(tmp_path: Path, changed: list[tuple[str, str]], garbage: str) -> None:
    path = project(tmp_path)
    text = "".join(f"{key}={value}\n" for key, value in changed) + PLAN + garbage
    (tmp_path / "Model.p01").write_bytes(text.encode("latin-1"))
    try:
        plan = Project.open(path).plan("1")
    except InputError as error:
        assert "Model.p01" in str(error)
    else:
        assert plan.geometry[0] == "g"


@given(
    st.lists(latin1 | st.sampled_from(PLAN.split("\n")), max_size=8),
    st.sampled_from(["\n", "\r\n"]),
    st.integers(0, 64),
)
def test_edits_change_the_cores_and_nothing_else(other: list[str], end: str, cores: int) -> None:
    text = end.join([*other, *PLAN.split("\n"), *other])
    edited = edited_plan(text, cores=cores, write_detailed=True, run_htab=False)

    def rest(of: str) -> list[str]:
        ours = ("UNET D1 Cores", "UNET D2 Cores", "PS Cores", "Write Detailed", "Run HTab")
        return [line for line in of.split("\n") if line.partition("=")[0].strip() not in ours]

    assert rest(edited) == rest(text)
    assert edited_plan(edited, cores=cores, write_detailed=True, run_htab=False) == edited
    assert edited_plan(text) == text


def test_every_core_line_is_set(tmp_path: Path) -> None:
    edited = edited_plan(PLAN, cores=2, write_detailed=True, run_htab=False)
    plan = Project.open(project(tmp_path, plan=edited)).plan("1")
    assert (plan.cores.d1, plan.cores.d2, plan.cores.ps) == (2, 2, 2)
    assert plan.cores.meshes == {"Lower area": 2, "Upper area": 2}
    assert plan.flags.write_detailed and not plan.flags.htab
    assert "UNET D1 Cores= 2\n" in edited and "Write Detailed= 1\n" in edited


def test_lines_that_a_release_did_not_write_are_added() -> None:
    text = "Plan Title=x\r\nBEGIN DESCRIPTION:\r\nUNET D1 Cores= 7\r\nEND DESCRIPTION:\r\nFlow File=u01\r\nlast"
    edited = edited_plan(text, cores=4, write_detailed=True, run_htab=True)
    assert edited == text.replace(
        "Flow File=u01\r\n", "Flow File=u01\r\nUNET D1 Cores=4\r\nWrite Detailed=1\r\nRun HTab=-1\r\n"
    )


def test_negative_cores_are_refused() -> None:
    with pytest.raises(InputError, match="-1 cores"):
        edited_plan(PLAN, cores=-1)


def test_the_current_plan_of_a_staged_project() -> None:
    assert set_current_plan("Proj Title=x\r\nCurrent Plan=p01\r\nY=1\r\n", "07") == (
        "Proj Title=x\r\nCurrent Plan=p07\r\nY=1\r\n"
    )
    assert set_current_plan("Proj Title=x", "07") == "Proj Title=x\nCurrent Plan=p07\n"
