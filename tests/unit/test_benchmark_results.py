"""Parts of benchmarks/results.md keep one another."""

from __future__ import annotations

import pytest

from benchmarks.logs import report
from benchmarks.results import merge

OLD = "# Results\n\nMade:\n\n- a machine\n\n## 59 images\n\n| a |\n\n## Logs\n\n| b |\n\n## pixels\n\n| c |\n"


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        ("## Logs\n\n| new |\n", OLD.replace("| b |", "| new |")),
        ("## more\n\n| new |\n", f"{OLD}\n## more\n\n| new |\n"),
        (
            "# Results\n\nAnew:\n\n## 59 images\n\n| new |\n",
            OLD.replace("Made:\n\n- a machine", "Anew:").replace("a |", "new |"),
        ),
        (OLD, OLD),
    ],
    ids=["one part", "another part", "all but some", "the same"],
)
def test_what_is_measured_anew_takes_the_place_of_the_old(new: str, expected: str) -> None:
    assert merge(OLD, new) == expected


def test_the_first_results() -> None:
    assert merge("", OLD) == OLD


def test_the_report_of_logs_is_a_part_of_its_own() -> None:
    seconds = {"with logs": [2.0, 1.0], "without": [1.0, 1.0]}
    lines, missed = report(seconds, seconds, ["- a machine"])
    assert missed
    assert lines[0] == "## Logs"
    assert lines.count("- a machine") == 1
    assert merge(OLD, "\n".join(lines)).count("\n## ") == 3
