"""The shell scripts that set a host up, which stand in files/."""

from __future__ import annotations

from fanrun.fleet.script import read_script, script_argv


def host_script(*names: str) -> str:
    """Return the text of scripts, one after the other; those that define functions come first."""
    return read_script("provision.hosts", *(f"files/{name}" for name in names))


def host_argv(name: str, *arguments: str) -> list[str]:
    """Return the command that runs a script with these arguments."""
    return script_argv(host_script(name), *arguments)
