"""What a run is asked for, and which results it may take."""

from __future__ import annotations

import json

import pytest

from fanrun.fanout.context import RunContext
from fanrun.fanout.program import Program, Scratch
from fanrun.fanout.request import RunLimits, RunRequest
from tests.unit.run_world import IMAGE
from tests.unit.samples import FLEET

EACH = RunRequest("/src", "/dst", each=("x", "{in}", "{out}"))
OTHERS = [RunRequest("/src", "/dst"), EACH, RunRequest("/src", "/dst", entrypoint="x")]


def test_a_program_has_all_that_is_asked_of_it() -> None:
    limits = RunLimits(1, 2, 3, Scratch(4, 5), 6)
    request = RunRequest("/src", "/dst", ("a",), limits=limits, entrypoint="x", each=("y",))
    assert request.program("ref", 7) == Program("ref", ("a",), 2, 3, Scratch(4, 5), 6, 7, "x", ("y",))


def test_what_is_started_is_a_part_of_the_program() -> None:
    requests = [*OTHERS, RunRequest("/src", "/dst", ("x", "{in}", "{out}")), RunRequest("/src", "/dst", ("x",))]
    assert len({RunContext(request, FLEET, IMAGE).program for request in requests}) == len(requests)


def test_a_command_and_an_entrypoint_are_remembered() -> None:
    kept = [json.loads(json.dumps(request.remembered("image"))) for request in OTHERS]
    assert [(each.get("entrypoint"), each.get("each")) for each in kept] == [
        (None, None),
        (None, ["x", "{in}", "{out}"]),
        ("x", None),
    ]


@pytest.mark.parametrize("request_", OTHERS)
def test_only_the_own_program_is_known_not_to_depend_on_names(request_: RunRequest) -> None:
    own = RunContext(request_, FLEET, IMAGE.__class__("process.py", "sha256:00", "ref", source="abc"))
    assert own.by_content == (not request_.start)
