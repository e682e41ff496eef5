"""A load's run as a picture: what was asked for and done, how long it took, and what failed."""

from __future__ import annotations

import importlib.util
import io
import math
from collections.abc import Mapping
from typing import Any

from service.loadtest.stats import OK, PERCENTILES

FORMATS = (".png", ".svg", ".pdf")


def can_plot() -> bool:
    """Tell whether matplotlib is installed: it is large, and nothing else here needs it."""
    return importlib.util.find_spec("matplotlib") is not None


def draw(report: Mapping[str, Any], suffix: str) -> bytes:
    """Return a picture of service/loadtest/load.py's report, in one of FORMATS."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import ScalarFormatter

    series = report["series"]
    seconds = [second["second"] + 0.5 for second in series]
    figure = Figure(figsize=(10, 8), layout="constrained")
    rate, latency, failures = figure.subplots(3, 1, sharex=True, height_ratios=(2, 2, 1))
    figure.suptitle(f"{report['target']}: {report['ok']} of {report['requests']} requests answered")

    unit = "requests/s" if report["mode"] == "rate" else "at once"
    rate.plot(seconds, [second["asked"] for second in series], color="gray", linestyle="--", label=f"asked, {unit}")
    rate.plot(seconds, [second["ok"] for second in series], color="black", label="answered a second")
    rate.set_ylim(bottom=0)

    for percent in PERCENTILES:
        values = [second["latency_ms"].get(f"p{percent}", math.nan) for second in series]
        latency.plot(seconds, values, label=f"p{percent}")
    latency.set_ylabel("milliseconds")
    if report["ok"]:
        latency.set_yscale("log")
        latency.yaxis.set_major_formatter(ScalarFormatter())  # 200, not 2 x 10^2
        latency.yaxis.set_minor_formatter(ScalarFormatter())

    for code in report["codes"]:
        if code != OK:
            failures.plot(seconds, [second["codes"].get(code, 0) for second in series], label=code)
    failures.set_ylabel("failed a second")
    failures.set_xlabel("seconds")
    failures.set_ylim(bottom=0)

    for axes in (rate, latency, failures):
        axes.grid(visible=True, alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="best")
    picture = io.BytesIO()
    figure.savefig(picture, format=suffix[1:])
    return picture.getvalue()
