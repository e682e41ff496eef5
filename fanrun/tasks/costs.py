"""What a run cost."""

from __future__ import annotations

from fanrun.fleet.errors import FanrunError
from provision.providers.base import Provider
from provision.providers.ec2 import prices


def of_run(provider: Provider, seconds: float) -> str:
    """Return a line on what the fleet's hosts cost while a run took so many seconds; "" if that is not known."""
    try:
        bill = provider.bill()
    except FanrunError:  # the run is over, and its results are there
        return ""
    if bill is None or bill.hour is None:
        return ""
    return f"the hosts cost {prices.dollars(bill.hour * seconds / 3600)} in this time, by prices of {bill.date}"
