"""The report of a load test as a picture: requests and answers, latency, and failures."""

from __future__ import annotations

import importlib.util
import io
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from service.loadtest.stats import OK, PERCENTILES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = (".png", ".svg", ".pdf")


def can_plot() -> bool:
    """Tell whether matplotlib is installed: it is large, and nothing else here needs it."""
    return importlib.util.find_spec("matplotlib") is not None


def draw(report: Mapping[str, Any], suffix: str) -> bytes:
    """Return a picture of service/loadtest/load.py's report, in one of FORMATS."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 8), layout="constrained")
    rate, latency, failures = figure.subplots(3, 1, sharex=True, height_ratios=(2, 2, 1))
    figure.suptitle(f"{report['target']}: {report['ok']} of {report['requests']} requests answered")
    draw_rate(rate, report)
    draw_latency(latency, report)
    draw_failures(failures, report)
    for axes in (rate, latency, failures):
        axes.grid(visible=True, alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="best")
    picture = io.BytesIO()
    figure.savefig(picture, format=suffix[1:])
    return picture.getvalue()


def middles(report: Mapping[str, Any]) -> list[float]:
    """Return the middle of each second."""
    return [second["second"] + 0.5 for second in report["series"]]


def draw_rate(axes: Axes, report: Mapping[str, Any]) -> None:
    """Draw how many requests the load asked for, and how many were answered."""
    series, unit = report["series"], "requests/s" if report["mode"] == "rate" else "at once"
    load = [second["asked"] for second in series]
    axes.plot(middles(report), load, color="gray", linestyle="--", label=f"asked, {unit}")
    axes.plot(middles(report), [second["ok"] for second in series], color="black", label="answered a second")
    axes.set_ylim(bottom=0)


def draw_latency(axes: Axes, report: Mapping[str, Any]) -> None:
    """Draw the percentiles of the latency."""
    from matplotlib.ticker import LogLocator, ScalarFormatter

    for percent in PERCENTILES:
        values = [second["latency_ms"].get(f"p{percent}", math.nan) for second in report["series"]]
        axes.plot(middles(report), values, label=f"p{percent}")
    axes.set_ylabel("milliseconds")
    if report["ok"]:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(ScalarFormatter())  # 200, not 2 x 10^2
        axes.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))  # more would stand in each other's way
        axes.yaxis.set_minor_formatter(ScalarFormatter())


def draw_failures(axes: Axes, report: Mapping[str, Any]) -> None:
    """Draw how often each error code came."""
    for code in report["codes"]:
        if code != OK:
            counts = [second["codes"].get(code, 0) for second in report["series"]]
            axes.plot(middles(report), counts, label=code)
    axes.set_ylabel("failed a second")
    axes.set_xlabel("seconds")
    axes.set_ylim(bottom=0)
