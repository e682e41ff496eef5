"""The options that give environment variables to the program."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

from fanrun.fanout.variables import Variables
from fanrun.fleet.errors import UsageError
from fanrun.tasks import options
from provision.options import Flag

NAME = re.compile(r"[^\s=#\x00-\x1f][^\s=\x00-\x1f]*")
"""What docker takes for a name in an --env-file."""
OWN = re.compile(r"HOME|FANRUN_.*")
"""Names of variables that Fanrun sets itself."""
MAX_BYTES = 60 * 1024
"""The maximum of a variable with its name: docker reads no longer lines."""

VARIABLE_FLAGS = {
    "env": Flag(
        "an environment variable of the program, NAME=VALUE, or NAME for the value that it has here; repeatable",
        is_list=True,
    ),
    "env_file": Flag("a file of such variables, one on each line, as docker run --env-file reads it"),
}


def chosen_variables(given: Mapping[str, object], environ: Mapping[str, str] = os.environ) -> Variables:
    """Return the variables that the options give; those of --env replace those of --env-file.

    Raises UsageError for one that can't be meant, without its value.
    """
    file, words = cast("str | None", given["env_file"]), cast(Sequence[str], given["env"] or ())
    values: dict[str, str] = {}
    if file is not None:
        values.update(_read(options.path("env-file", file), environ))
    for word in words:
        name, is_given, value = word.partition("=")
        values.update([_checked("--env", name, value if is_given else None, environ)])
    return Variables(values)


def _read(path: str, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield name and value of each variable in a file; blank lines and lines that begin with # are left out."""
    try:
        text = Path(path).read_bytes().decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"--env-file {path!r} is not UTF-8; give a file of lines NAME=VALUE") from error
    except OSError as error:
        raise UsageError(f"--env-file {path!r} can't be read ({error.strerror})") from error
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        words = line.removesuffix("\r").lstrip()
        if words and not words.startswith("#"):
            name, is_given, value = words.partition("=")
            yield _checked(f"--env-file {path!r}, line {number}", name, value if is_given else None, environ)


def _checked(where: str, name: str, value: str | None, environ: Mapping[str, str]) -> tuple[str, str]:
    """Return a variable, with the value that it has here if it has none; `where` begins the message of an error."""
    if not NAME.fullmatch(name):
        raise UsageError(f"{where}: give NAME=VALUE, or NAME for a variable that is set here")
    if OWN.fullmatch(name):
        raise UsageError(f"{where}: Fanrun itself sets {name} in containers; use another name")
    if value is None:
        value = environ.get(name)
        if value is None:
            raise UsageError(f"{where}: {name} is not set here; set it, or give {name}=VALUE")
    try:
        size = len(f"{name}={value}".encode())
    except UnicodeEncodeError as error:
        raise UsageError(f"{where}: {name} is not UTF-8; encode it, for example as base64") from error
    if re.search(r"[\n\r\0]", value):
        raise UsageError(f"{where}: the value of {name} has more than one line; encode it, for example as base64")
    if size > MAX_BYTES:
        raise UsageError(f"{where}: {name} has more than {MAX_BYTES // 1024} KiB; use a file, by --mount")
    return name, value
