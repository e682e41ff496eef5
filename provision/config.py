"""Settings of the control machine: from fabric.yaml (`fanrun:`), FANRUN_* and flags, in that order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from provision.errors import UsageError

MOST_HOSTS = 1000


@dataclass(frozen=True)
class Settings:
    """What a task works with; `home` is the folder that holds one folder a fleet.

    `hosts` is None where nobody named a number: a fleet keeps the one it has.
    """

    home: Path
    provider: str = "local"
    fleet: str = "default"
    hosts: int | None = None


def settings(
    root: Path, file: Mapping[str, object], environment: Mapping[str, str], flags: Mapping[str, str | None]
) -> Settings:
    """Merge the three sources, the later winning; UsageError names the setting that is off.

    `file` is the mapping under `fanrun:` in fabric.yaml, `environment` has FANRUN_PROVIDER and
    the like, a flag that was not given is None.
    """
    known = ("home", "provider", "fleet", "hosts")
    unknown = sorted(set(file) - set(known))
    if unknown:
        raise UsageError(f"fabric.yaml: fanrun has no setting {unknown[0]!r}; it has {', '.join(known)}")
    merged: dict[str, str] = {key: str(value) for key, value in file.items()}
    merged |= {key: environment[f"FANRUN_{key.upper()}"] for key in known if environment.get(f"FANRUN_{key.upper()}")}
    merged |= {key: value for key, value in flags.items() if value is not None}
    home = Path(merged.get("home", ".fanrun")).expanduser()
    return Settings(
        home=home if home.is_absolute() else root / home,
        provider=merged.get("provider", "local"),
        fleet=merged.get("fleet", "default"),
        hosts=whole("hosts", merged["hosts"], 1, MOST_HOSTS) if "hosts" in merged else None,
    )


def whole(name: str, text: str, least: int, most: int) -> int:
    """The whole number in `text`; UsageError unless it is one from `least` to `most`."""
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        given = text if text.isprintable() else repr(text)
        raise UsageError(f"--{name}={given}: give a whole number from {least} to {most}")
    return value


def size(name: str, text: str, least: int) -> int:
    """The bytes that `text` names (a whole number, and k, m or g after it); UsageError unless it is `least` or more."""
    number, unit = (text[:-1], text[-1:].lower()) if text[-1:].isalpha() else (text, "")
    scale = {"": 1, "b": 1, "k": 1024, "m": 1024**2, "g": 1024**3}.get(unit, 0)
    value = int(number) * scale if number.isascii() and number.isdigit() else 0
    if value < least:
        given = text if text.isprintable() else repr(text)
        raise UsageError(f"--{name}={given}: give a size of {least // 1024**2}m or more, as 512m or 4g")
    return value
