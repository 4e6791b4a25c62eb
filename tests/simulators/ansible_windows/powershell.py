"""PowerShell by its grammar (tree-sitter): whether a script parses, and which parameters it takes."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import tree_sitter_powershell
from tree_sitter import Language, Node, Parser


@functools.cache
def _parser() -> Parser:
    return Parser(Language(tree_sitter_powershell.language()))


def _walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from _walk(child)


def _text(node: Node) -> str:
    return (node.text or b"").decode()


def errors(script: str) -> list[str]:
    """What does not parse, with its line."""
    root = _parser().parse(script.encode()).root_node
    return [
        f"line {node.start_point.row + 1}: {_text(node)[:60] or node.type}"
        for node in _walk(root)
        if node.is_error or node.is_missing
    ]


def parameters(script: str) -> dict[str, bool]:
    """Names of the script's parameters, and whether each is mandatory."""
    block = next(
        (node for node in _parser().parse(script.encode()).root_node.children if node.type == "param_block"), None
    )
    found = {}
    for node in _walk(block) if block else ():
        if node.type == "script_parameter":
            variable = next(child for child in node.children if child.type == "variable")
            found[_text(variable).removeprefix("$")] = "mandatory" in _text(node).lower()
    return found


def supports_should_process(script: str) -> bool:
    """Whether win_powershell runs the script in check mode."""
    return "supportsshouldprocess" in script.partition("param(")[0].lower().replace(" ", "")
