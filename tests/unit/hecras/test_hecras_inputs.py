"""Which files a plan needs: the closure, what is missing, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import pytest
from tests.unit.hecras.builders import ESRI, PLAN, hdf, project, write

from ras_runner.errors import InputError
from ras_runner.hecras.inputs import Access, InputFile, MissingInput, PlanInputs, check_inputs, plan_inputs
from ras_runner.hecras.paths import find, resolve
from ras_runner.hecras.project import Project


def closure(prj: Path) -> PlanInputs:
    return plan_inputs(Project.open(prj).plan("1"))


def by_place(inputs: PlanInputs) -> dict[str, InputFile]:
    return {str(file.place): file for file in inputs.files}


def missing(inputs: PlanInputs) -> dict[str, MissingInput]:
    return {entry.reference: entry for entry in inputs.missing}


def test_the_files_of_a_real_plan(muncie: Path) -> None:
    inputs = plan_inputs(Project.open(muncie).plan("4"))
    places = ["Muncie.b04", "Muncie.g04.hdf", "Muncie.p04", "Muncie.prj", "Muncie.u01", "Muncie.x04"]
    assert list(by_place(inputs)) == places
    assert {file.access for file in inputs.files} == {Access.PRIVATE}
    assert set(missing(inputs)) == {"muncie.dss", "Muncie.g04", ".\\Terrain\\Terrain.hdf"}
    check_inputs(inputs)


def test_prepared_files_are_taken_and_results_are_not(tmp_path: Path) -> None:
    prj = project(tmp_path)
    wanted = ["c01", "x01", "b01", "g01.hdf", "u01.hdf"]
    for ending in [
        *wanted,
        "p01.hdf",
        "p01.tmp.hdf",
        "p02",
        "p02.hdf",
        "r01",
        "O01",
        "g02",
        "u02",
        "g01.bak",
        "s01",
        "dss",
    ]:
        write(tmp_path / f"Model.{ending}", "")
    hdf(tmp_path / "Model.g01.hdf", {})
    assert set(by_place(closure(prj))) == {f"Model.{ending}" for ending in [*wanted, "prj", "p01", "g01", "u01"]}


def test_steady_and_sediment_plans_take_their_own_files(tmp_path: Path) -> None:
    prj = project(tmp_path, plan=PLAN.replace("u01", "f01") + "Run Sediment=-1\n")
    for ending in ("f01", "r01", "s03", "w01"):
        write(tmp_path / f"Model.{ending}", "")
    endings = {"prj", "p01", "g01", "f01", "r01", "s03"}
    assert set(by_place(closure(prj))) == {f"Model.{ending}" for ending in endings}


@pytest.mark.parametrize("gone", ["g01", "u01"])
def test_a_missing_component_stops_the_plan(tmp_path: Path, gone: str) -> None:
    prj = project(tmp_path)
    (tmp_path / f"Model.{gone}").unlink()
    with pytest.raises(InputError, match=rf"Model\.{gone} \(Model\.p01: .*={gone}") as caught:
        check_inputs(closure(prj))
    assert caught.value.action


FLOW = """Use Restart=-1
Restart Filename=.\\Restart\\START.rst
Boundary Location=White           ,Upper           ,9       ,        ,
DSS File=..\\Shared\\Inflow.DSS
DSS Path=//WHITE/FLOW//1HOUR/A/
Use DSS=True
Boundary Location=White           ,Upper           ,5       ,        ,
DSS File=unused.dss
Use DSS=False
Boundary Location=White           ,Upper           ,1       ,        ,
DSS File=absent.dss
Use DSS=True
Observed DSS Filename=observed.dss
Precipitation Mode=Enable
Wind Mode=No Wind Forces
Met BC=Precipitation|Mode=Gridded
Met BC=Precipitation|Gridded Source=DSS
Met BC=Precipitation|Gridded DSS Filename=rain\\grid.dss
Met BC=Evapotranspiration|Gridded Source=DSS
Met BC=Evapotranspiration|Gridded DSS Filename=constant.dss
Met BC=Wind Speed|Mode=Gridded
Met BC=Wind Speed|Gridded DSS Filename=wind.dss
Met BC=Air Pressure|Mode=Gridded
Met BC=Air Pressure|Gridded Source=GDAL Raster File(s)
Met BC=Air Pressure|Gridded GDAL Folder=air
Met BC=Air Pressure|Gridded GDAL Filter=*.nc
"""


def test_what_a_flow_file_refers_to(tmp_path: Path) -> None:
    prj = project(tmp_path / "study", flow=FLOW)
    for name in ("study/restart/start.rst", "shared/inflow.dss", "study/unused.dss", "study/observed.dss"):
        write(tmp_path / name, "")
    for name in ("rain/grid.dss", "air/a.NC", "air/b.nc", "air/readme.txt", "wind.dss", "constant.dss"):
        write(tmp_path / "study" / name, "")
    inputs = closure(prj)
    files = {place: file for place, file in by_place(inputs).items() if not place.startswith("Model")}
    private, shared = Access.PRIVATE, Access.READ_ONLY
    assert {place: (file.kind, file.access) for place, file in files.items()} == {
        "../shared/inflow.dss": ("dss", private),
        "air/a.NC": ("gridded weather", shared),
        "air/b.nc": ("gridded weather", shared),
        "observed.dss": ("dss", private),
        "rain/grid.dss": ("gridded weather", shared),
        "restart/start.rst": ("restart", shared),
    }
    assert files["../shared/inflow.dss"].path == tmp_path / "shared" / "inflow.dss"
    assert files["../shared/inflow.dss"].referred_by == (
        "Model.u01: boundary White, Upper, 9: DSS File=..\\Shared\\Inflow.DSS"
    )
    with pytest.raises(InputError, match=r"lacks 1 required file\(s\): dss absent\.dss \(Model\.u01: boundary White"):
        check_inputs(inputs)


@pytest.mark.parametrize("switch", ["Use Restart= 0", "Restart Filename="])
def test_a_restart_that_is_off_is_not_needed(tmp_path: Path, switch: str) -> None:
    flow = f"{switch}\nUse Restart=-1\nRestart Filename=absent.rst\n"
    assert closure(project(tmp_path, flow=flow)).missing == ()


def test_rain_that_is_off_is_not_needed(tmp_path: Path) -> None:
    prj = project(tmp_path, flow=FLOW[FLOW.index("Precipitation Mode") :].replace("=Enable", "=Disable"))
    assert set(missing(closure(prj))) == {"air"}


RASMAP = """<RASMapper>
  <RASProjectionFilename Filename=".\\Maps\\NAD83.prj" />
  <Results><Layer Name="old" Type="RASResults" Filename=".\\Model.p07.hdf" /></Results>
  <Terrains><Layer Name="Ground" Type="TerrainLayer" Filename=".\\TERRAIN\\Ground.hdf" /></Terrains>
  <MapLayers>
    <Layer Name="Cover" Type="LandCoverLayer" Filename=".\\Maps\\Cover.hdf" />
    <Layer Name="photo" Type="RASImagery" Filename="..\\photo.jpg" />
  </MapLayers>
</RASMapper>"""


def test_terrain_and_land_cover_with_their_rasters(tmp_path: Path) -> None:
    prj = project(tmp_path)
    write(tmp_path / "Model.rasmap", RASMAP)
    write(tmp_path / "Maps/NAD83.prj", ESRI)
    hdf(
        tmp_path / "Terrain/Ground.hdf", {"Terrain/north": {"File": "Ground.north.tif"}, "Terrain/s": {"File": "S.tif"}}
    )
    hdf(tmp_path / "Maps/Cover.hdf", {})
    for name in ("Terrain/Ground.north.tif", "Terrain/Ground.vrt", "Terrain/Groundwater.tif", "Maps/Cover.tif"):
        write(tmp_path / name, "")
    area = {"Terrain Filename": ".\\Terrain\\ground.hdf", "Infiltration Filename": "Maps\\Soil.hdf", "File Date": "x"}
    hdf(
        tmp_path / "Model.g01.hdf",
        {"Geometry/2D Flow Areas/Lower": area, "Geometry": {"Terrain Filename": b"\xff\xfe"}},
    )
    inputs = closure(prj)
    kinds = {place: file.kind for place, file in by_place(inputs).items() if file.access is Access.READ_ONLY}
    assert kinds == {
        "Maps/Cover.hdf": "land cover",
        "Maps/Cover.tif": "land cover",
        "Maps/NAD83.prj": "projection",
        "Terrain/Ground.hdf": "terrain",
        "Terrain/Ground.north.tif": "terrain",
        "Terrain/Ground.vrt": "terrain",
    }
    assert missing(inputs)["Maps\\Soil.hdf"].kind == "infiltration"
    assert "silently skip" in missing(inputs)["Maps\\Soil.hdf"].why
    assert missing(inputs)["S.tif"].why == "needed only when the geometry is recomputed"
    assert by_place(inputs)["Model.rasmap"].access is Access.PRIVATE
    check_inputs(inputs)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_rasmap_with_entities_is_refused(tmp_path: Path, encoding: str) -> None:
    prj = project(tmp_path)
    bomb = '<!DOCTYPE r [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><RASMapper>&b;</RASMapper>'
    (tmp_path / "Model.rasmap").write_bytes(bomb.encode(encoding))
    with pytest.raises(InputError, match=r"Model\.rasmap declares a document type"):
        closure(prj)


@pytest.mark.parametrize("content", [b"", b"<RASMapper><Terr", b"\0\xff\0", RASMAP.encode()[:-20]])
def test_a_broken_rasmap_is_reported_and_not_needed(tmp_path: Path, content: bytes) -> None:
    prj = project(tmp_path)
    (tmp_path / "Model.rasmap").write_bytes(content)
    inputs = closure(prj)
    assert "not well-formed" in missing(inputs)["Model.rasmap"].why
    check_inputs(inputs)


def test_a_damaged_geometry_hdf_is_needed_where_there_is_no_text(tmp_path: Path) -> None:
    prj = project(tmp_path)
    write(tmp_path / "Model.g01.hdf", "no HDF")
    check_inputs(closure(prj))
    assert "damaged" in missing(closure(prj))["Model.g01.hdf"].why
    (tmp_path / "Model.g01").unlink()
    with pytest.raises(InputError, match=r"Model\.g01\.hdf"):
        check_inputs(closure(prj))


def dss(name: str) -> str:
    return f"Boundary Location=a,b,1\nDSS File={name}\nUse DSS=True\n"


@pytest.mark.parametrize("name", ["secret", "secret.txt", "id_rsa"])
def test_files_outside_the_project_are_hydraulic_data_only(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, "secret")
    with pytest.raises(InputError, match=r"Model\.u01: boundary a, b, 1.*leads out of the project folder"):
        closure(project(tmp_path / "study", flow=dss(f"..\\{name}")))


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need a privilege on Windows")
def test_links_do_not_lead_out_of_the_project(tmp_path: Path) -> None:
    prj = project(tmp_path / "study", flow=dss("in.dss"))
    write(tmp_path / "shared.dss", "")
    (tmp_path / "study/in.dss").symlink_to(tmp_path / "shared.dss")
    file = by_place(closure(prj))["in.dss"]
    assert (file.path, file.place) == (tmp_path / "shared.dss", PurePosixPath("in.dss"))
    (tmp_path / "study/in.dss").unlink()
    (tmp_path / "study/in.dss").symlink_to(write(tmp_path / "secret.key", "x"))
    with pytest.raises(InputError, match=r"secret\.key"):
        closure(prj)


@pytest.mark.skipif(os.name == "nt", reason="POSIX paths")
def test_absolute_files_outside_the_tree_have_no_place(tmp_path: Path) -> None:
    outside = write(tmp_path / "data/in.dss", "")
    inputs = closure(project(tmp_path / "study", flow=dss(str(outside))))
    assert [file.path for file in inputs.files if file.place is None] == [outside]
    inside = write(tmp_path / "study/own/in.dss", "")
    inputs = closure(project(tmp_path / "study", flow=dss(str(inside))))
    assert by_place(inputs)["own/in.dss"].path == inside


@pytest.mark.skipif(os.name == "nt", reason="drive letters exist on Windows")
@pytest.mark.parametrize("reference", ["C:\\data\\in.dss", "\\\\server\\share\\in.dss", "//server/share/in.dss"])
def test_windows_places_do_not_exist_elsewhere(tmp_path: Path, reference: str) -> None:
    write(tmp_path / "data/in.dss", "")
    with pytest.raises(InputError, match="required file"):
        check_inputs(closure(project(tmp_path, flow=dss(reference))))


def test_folders_and_control_characters_are_no_references(tmp_path: Path) -> None:
    (tmp_path / "in.dss").mkdir()
    inputs = closure(project(tmp_path, flow=dss("in.dss")))
    assert "not a regular file" in missing(inputs)["in.dss"].why
    with pytest.raises(InputError, match="control characters"):
        closure(project(tmp_path, flow=dss("in\x07.dss")))


def test_one_file_named_twice_is_one_input_and_stays_private(tmp_path: Path) -> None:
    flow = dss("a.dss") + dss(".\\A.DSS") + FLOW[FLOW.index("Precipitation Mode") :].replace("rain\\grid.dss", "a.dss")
    write(tmp_path / "a.dss", "")
    same = [file for file in closure(project(tmp_path, flow=flow)).files if file.path.name.lower() == "a.dss"]
    assert [file.access for file in same] == [Access.PRIVATE]


def test_references_are_found_in_any_case_and_encoding(tmp_path: Path) -> None:
    target = write(tmp_path / "Höhen" / "Modèle à.tif", "")
    assert resolve(tmp_path, ".\\HÖHEN\\modèle À.TIF") == target
    assert resolve(tmp_path, "höhen/Modèle à.tif".encode().decode("latin-1")) == target
    assert resolve(tmp_path / "Höhen", "..\\höhen\\..\\HÖHEN") == tmp_path / "Höhen"
    assert [resolve(tmp_path, text) for text in ("", "  ", "absent\\x", "a\0b", "x" * 5000)] == [None] * 5
    assert find(target, "x") is None


def test_the_exact_spelling_wins(tmp_path: Path) -> None:
    for name in ("a.dss", "A.dss"):
        write(tmp_path / name, "")
    if len(list(tmp_path.iterdir())) == 1:
        pytest.skip("the file system knows no case")
    assert [find(tmp_path, name) for name in ("a.dss", "A.dss", "a.DSS")] == [
        tmp_path / "a.dss",
        tmp_path / "A.dss",
        tmp_path / "A.dss",
    ]
