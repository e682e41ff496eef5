"""Answer questions about Vector's configuration with PyPI's vector-vrl, which needs Python 3.12: JSON in, JSON out.

It runs alone, by whatever interpreter there is (tests/vrl.py).  A question is {"do": "check" | "tests" | "run", "file":
FILE}, and for "run" also "transform" and "events".
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any


def check(file: str) -> dict[str, str]:
    """Return {transform: why it does not compile, "" if it does}."""
    from vector_vrl import validate_config

    found = validate_config(file)
    assert not found.skipped, found.skipped
    return {each.name: "" if each.ok else str(each.error or each.unchecked_reason) for each in found.checked}


def run(source: str, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    from vector_vrl import execute_vrl

    return list(execute_vrl(source, [json.dumps(event) for event in events]))


def tests(config: dict[str, Any]) -> dict[str, str]:
    """Return {name of a test: what is wrong, "" if nothing is}.

    A condition is run right after its transform, in one program: times become texts where an event is handed over.
    """
    found = {}
    for test in config["tests"]:
        (given,) = test["inputs"]
        source = config["transforms"][given["insert_at"]]["source"]
        conditions = [each["source"] for output in test.get("outputs", []) for each in output["conditions"]]
        assert conditions or test["no_outputs_from"], f"{test['name']} checks nothing"
        (left,) = run("\n".join([source, *conditions]), run(given["source"], [{}]))
        error = str(left.get("error", ""))
        dropped = "aborted" in error
        wanted = "no_outputs_from" in test
        found[test["name"]] = "" if (dropped if wanted else not error) else error or "it was not dropped"
    return found


def main() -> None:
    tomllib = importlib.import_module("tomllib")  # not in each Python that checks this file
    question = json.load(sys.stdin)
    config = tomllib.loads(Path(question["file"]).read_text("utf-8"))
    if question["do"] == "check":
        answer: object = check(question["file"])
    elif question["do"] == "tests":
        answer = tests(config)
    else:
        answer = run(config["transforms"][question["transform"]]["source"], question["events"])
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
