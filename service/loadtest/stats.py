"""What became of a load's requests: counts, rates and percentiles."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

OK = "OK"
PERCENTILES = (50, 90, 99)


class Sample(NamedTuple):
    """A request that has ended `at` a second of the run, `latency` seconds after it was due."""

    at: float
    latency: float
    code: str


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the least of the values, which are sorted, that `percent` % are not above; nan if there are none."""
    return values[max(math.ceil(len(values) * percent / 100), 1) - 1] if values else math.nan


def latencies(samples: Iterable[Sample]) -> dict[str, float]:
    """Return the percentiles, the mean and the largest of the latencies in milliseconds; nothing for no samples."""
    values = sorted(sample.latency * 1000 for sample in samples)
    if not values:
        return {}
    found = {f"p{percent}": percentile(values, percent) for percent in PERCENTILES}
    found |= {"mean": sum(values) / len(values), "max": values[-1]}
    return {name: round(value, 2) for name, value in found.items()}


def good(samples: Iterable[Sample]) -> list[Sample]:
    """Return those that were answered: a refusal is quick, and would flatter the percentiles."""
    return [sample for sample in samples if sample.code == OK]


def count_codes(samples: Iterable[Sample]) -> dict[str, int]:
    """Return how often each code was the answer, the most frequent first."""
    return dict(Counter(sample.code for sample in samples).most_common())


def totals(samples: Sequence[Sample], seconds: float) -> dict[str, Any]:
    """Sum up a whole run of so many seconds."""
    answered = good(samples)
    return {
        "requests": len(samples),
        "ok": len(answered),
        "failed": len(samples) - len(answered),
        "codes": count_codes(samples),
        "ok_per_second": round(len(answered) / seconds, 2) if seconds else 0.0,
        "latency_ms": latencies(answered),
        "latency_of_all_ms": latencies(samples),
    }


def series(samples: Iterable[Sample], seconds: float, level: Callable[[float], float]) -> list[dict[str, Any]]:
    """Return the run second by second, by when requests ended; `level` is what was asked for at a time."""
    buckets: defaultdict[int, list[Sample]] = defaultdict(list)
    for sample in samples:
        buckets[int(sample.at)].append(sample)
    last = max([math.ceil(seconds) - 1, *buckets], default=0)
    return [
        {
            "second": second,
            "asked": round(level(second + 0.5), 2),
            "ended": len(buckets[second]),
            "ok": len(good(buckets[second])),
            "codes": count_codes(buckets[second]),
            "latency_ms": latencies(good(buckets[second])),
        }
        for second in range(last + 1)
    ]


def line(recent: Sequence[Sample], seconds: float, codes: Mapping[str, int]) -> str:
    """Say how a run goes: `recent` are the samples of the last `seconds`, `codes` the counts of all."""
    shown = latencies(good(recent))
    spread = "  ".join(f"p{percent} {shown[f'p{percent}']:.0f}" for percent in PERCENTILES if shown)
    counts = [f"{code} {count}" for code, count in codes.items()]
    return "  ".join([f"done {len(recent) / seconds:.1f}/s", *([f"{spread} ms"] if spread else []), *counts])
