"""The options that choose a fleet: its name, its provider, and the options of providers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fanrun.tasks.options import FLEET
from fanrun.tasks.task import OptionGroup
from provision import catalog
from provision.options import Flag


@dataclass(frozen=True)
class FleetChoice:
    """Hold what was given on the command line; `flags` are the options of providers, whether given or not."""

    fleet: str | None = None
    provider: str | None = None
    flags: Mapping[str, object] = field(default_factory=dict)


def choice(task: str, provider: str) -> OptionGroup[FleetChoice]:
    """Return the group of options that choose the fleet of a task; `provider` is the help text of --provider."""
    return OptionGroup(
        {"provider": Flag(provider), **catalog.flags(task), "fleet": Flag(FLEET)},
        lambda values: FleetChoice(
            _text(values["fleet"]),
            _text(values["provider"]),
            {name: value for name, value in values.items() if name not in ("fleet", "provider")},
        ),
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)
