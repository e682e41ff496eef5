"""Shell scripts for hosts: each is a file with the ending .sh beside the code that sends it."""

from __future__ import annotations

import re
from importlib import resources

COMMENT = re.compile(r"^[ \t]*#.*\n", re.MULTILINE)


def read_script(package: str, *names: str) -> str:
    """Return the text of scripts in a package, one after the other, without the lines that are comments.

    A script that defines functions comes before the one that calls them. Comments would make each command longer.
    """
    folder = resources.files(package)
    return "".join(COMMENT.sub("", (folder / name).read_text("utf-8")) for name in names)


def script_argv(script: str, *arguments: str) -> list[str]:
    """Return the command that runs the text of a script with these arguments."""
    return ["sh", "-c", script, "sh", *arguments]
