"""Command lines in Windows batch files: how an argument is written so that the program gets exactly that argument."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Characters that cmd.exe reads of one line; it cuts a longer one and runs what is left.
MAX_LINE = 8191


def check_cmd(text: str) -> str:
    """Refuse text that a batch file cannot say safely.

    Printable ASCII except the double quote can be said. Other characters cannot: what cmd.exe reads for them depends on
    the machine's code page, and a quote or a line end changes what the rest of the line means.

    Args:
        text: an argument, a value or a path.

    Returns:
        The same text.

    Raises:
        ValueError: names the text and the characters that cannot be said.
    """
    refused = sorted({char for char in text if not " " <= char <= "~" or char == '"'})
    if refused:
        raise ValueError(f"a batch file cannot say {text!r} safely: characters {', '.join(map(ascii, refused))}")
    return text


def quote_cmd(argument: str) -> str:
    """Write one argument for a command line in a batch file (``%`` doubled; delayed expansion must be off).

    Always between double quotes, where ``& | < > ^ ( ) ! , ; =`` and spaces mean themselves. Backslashes before the
    closing quote are doubled, as the C runtime's argument parser wants them (``CommandLineToArgvW``).

    Args:
        argument: what the program is to get.

    Returns:
        The quoted argument. Not fit for a prompt or ``cmd /c``, where ``%%`` stays two characters.

    Raises:
        ValueError: the argument has a double quote, a control character or a character outside ASCII.
    """
    text = check_cmd(argument)
    trailing = len(text) - len(text.rstrip("\\"))
    return '"' + (text + "\\" * trailing).replace("%", "%%") + '"'


def join_cmd(arguments: Sequence[str]) -> str:
    """Write a command line of a batch file: ``quote_cmd`` of each argument.

    Raises:
        ValueError: an argument cannot be said, or the line is longer than cmd.exe reads.
    """
    line = " ".join(quote_cmd(argument) for argument in arguments)
    if len(line) > MAX_LINE:
        raise ValueError(
            f"a command line of {len(line)} characters is too long for cmd.exe ({MAX_LINE}): {line[:80]}..."
        )
    return line
