"""Commands of ``ras-runner image``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ras_runner.cli.output import print_json, talk
from ras_runner.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


def build(
    archive: Path | None,
    *,
    standin: bool,
    version: str,
    sha256: str,
    tag: str,
    base: str,
    where: dict[str, Any],
    as_json: bool,
) -> None:
    """``ras-runner image build``: the name of the image to stdout, what the build says to stderr."""
    from ras_runner.fleet.image import build_hecras_image, build_standin_image
    from ras_runner.validation import validated
    from ras_runner.workers.linux import DockerPlace

    if standin == (archive is not None):
        raise InputError(
            "an image holds HEC-RAS or the stand-in engine",
            step="build image",
            action="give --hecras-archive FILE --version 6.6, or --standin",
        )
    place = validated(DockerPlace, {name: value for name, value in where.items() if value}, "image build")
    if archive is None:
        if version or sha256:
            raise InputError(
                "--version and --sha256 are those of HEC-RAS's archive",
                step="build image",
                action="leave them out with --standin",
            )
        image = build_standin_image(tag=tag, where=place, say=talk, **({"base": base} if base else {}))
    else:
        image = build_hecras_image(
            archive,
            version=version,
            tag=tag,
            sha256=sha256,
            where=place,
            say=talk,
            **({"base": base} if base else {}),
        )
    if as_json:
        print_json({"tag": image.tag, "id": image.id, "labels": image.labels})
    else:
        print(image.tag)  # noqa: T201  data for scripts
