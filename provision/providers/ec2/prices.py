"""What instances cost, from a small table with its date; what it doesn't know is unknown, never 0."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fanrun.fleet.errors import UsageError
from fanrun.fleet.model import Role
from fanrun.fleet.text import counted

TABLE = Path(__file__).with_name("prices.json")
MONTH = 730
"""Hours in a month, as Amazon counts for volumes."""


@dataclass(frozen=True)
class Prices:
    """US dollars: an hour of each instance type and of a public address, a month of a GiB of disk."""

    date: str
    regions: tuple[str, ...]
    instances: dict[str, float]
    address: float
    gib_month: float

    def hour(self, region: str, instance_type: str, disk: int) -> float | None:
        """Return a host's price an hour with its address and a disk of so many GiB; None where it is unknown.

        A spot instance costs no more than that.
        """
        price = self.instances.get(instance_type)
        if price is None or region not in self.regions:
            return None
        return price + self.address + disk * self.gib_month / MONTH


def load(path: str = "") -> Prices:
    """Read a table, the project's own by default; UsageError tells what is wrong with another."""
    try:
        data: dict[str, Any] = json.loads(Path(path or TABLE).read_text("utf-8"))
        return Prices(
            str(data["date"]),
            tuple(map(str, data["regions"])),
            {str(name): float(price) for name, price in data["instances"].items()},
            float(data["address"]),
            float(data["gib_month"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        next_step = f"{TABLE} is an example" if path else "restore it with git, or name another with --prices"
        raise UsageError(f"the prices in {path or TABLE} can't be read ({error!r}); {next_step}") from error


def dollars(amount: float | None) -> str:
    """Return an amount for people: "$0.21", or "unknown"."""
    return "unknown" if amount is None else f"${amount:.2f}" if amount >= 0.1 else f"${amount:.4f}"


def total(amounts: list[float | None]) -> float | None:
    """Return the sum, None if any is unknown."""
    return None if None in amounts else sum(amount for amount in amounts if amount is not None)


def lines(table: Prices, region: str, kinds: Mapping[Role, tuple[int, str]], disk: int, spot: bool) -> list[str]:
    """Return lines on what hosts of these types, {role: (count, type)}, cost an hour; `spot` is for workers."""
    found, hours = list[str](), list[float | None]()
    for role, (count, kind) in kinds.items():
        hour = table.hour(region, kind, disk)
        hours += [hour] * count
        market = "spot, at most " if spot and role == "worker" else ""
        found.append(f"{counted(count, role)}: {kind}, {disk} GiB, {market}{dollars(hour)} an hour each")
    return [*found, f"in all {dollars(total(hours))} an hour, by prices of {table.date}"]
