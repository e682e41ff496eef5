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
