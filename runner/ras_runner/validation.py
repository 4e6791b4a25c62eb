"""Parameters checked by pydantic models, with errors for people: what is wrong, and what would be right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from ras_runner.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel, ValidationError

Model = TypeVar("Model", bound="BaseModel")


def validated(model: type[Model], parameters: Mapping[str, Any], what: str) -> Model:
    """``parameters`` as a model.

    Args:
        model: what they are to be.
        parameters: by name.
        what: whose parameters they are, for the message.

    Raises:
        InputError: says which is wrong, and lists the valid ones.
    """
    from pydantic import ValidationError

    try:
        return model(**parameters)
    except ValidationError as error:
        raise InputError(
            f"{what}: {_sentence(error)}",
            step="check parameters",
            action=f"valid parameters are {', '.join(sorted(model.model_fields))}",
        ) from None


def _sentence(error: ValidationError) -> str:
    parts = []
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        name = ".".join(map(str, item["loc"]))
        if item["type"] == "extra_forbidden":
            parts.append(f"unknown parameter {name!r}")
        else:  # what several parameters together have wrong is said without a name
            said = item["msg"].removeprefix("Value error, ")
            quotes = " (in YAML: in quotes)" if item["type"] == "string_type" else ""
            parts.append(f"{name}: {said}{quotes}" if name else said)
    return "; ".join(parts)
