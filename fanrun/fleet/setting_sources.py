"""Where each setting comes from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from fanrun.fleet.config import LOGS, NESTED

PARTS = {"logs": LOGS, "cache": ("bytes",)}
"""The settings within those of NESTED."""


class SettingSource(NamedTuple):
    """A setting as it was given, and where: the name of the file, or of the variable."""

    name: str
    value: str
    source: str


def setting_sources(
    names: Iterable[str], file: Mapping[str, object], file_name: str, environment: Mapping[str, str]
) -> Iterator[SettingSource]:
    """Yield the settings that are given, those of `names` first; the environment overrides the file.

    `file` is the mapping under `fanrun:` in the file of that name.
    """
    for name in (*names, *NESTED):
        value = file.get(name)
        nested = value if isinstance(value, Mapping) else {}
        texts = {name: None if nested else value}
        texts |= {f"{name}.{part}": nested.get(part) for part in PARTS.get(name, ())}
        for each, given in texts.items():
            variable = f"FANRUN_{each.replace('.', '_').upper()}"
            if environment.get(variable):
                yield SettingSource(each, environment[variable], variable)
            elif given is not None:
                yield SettingSource(each, _text(given), file_name)


def _text(value: object) -> str:
    """Return a value of YAML as a text; it reads on and off as booleans."""
    items = value if isinstance(value, list) else [value]
    return ",".join(str(each).lower() if isinstance(each, bool) else str(each) for each in items)
