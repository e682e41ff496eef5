"""Commands in a log: as they were typed, without secrets."""

from __future__ import annotations

import pytest

from fanrun.fleet.redaction import redact_command


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["/x/bin/fab", "run", "--src", "two words", "--dst=out"], "fab run --src 'two words' --dst=out"),
        (["fab", "run", "--args", "--rotate 90 --keep-going"], "fab run --args '--rotate 90 --keep-going'"),
        (["fab", "run", "--args=--token abc --size 3"], "fab run '--args=--token REDACTED --size 3'"),
        (
            ["fab", "run", "--args", "--api-key=abc -e DB_PWD=x"],
            "fab run --args '--api-key=REDACTED -e DB_PWD=REDACTED'",
        ),
        (["fab", "run", "--args", "it's"], "fab run --args REDACTED"),
        (["fab", "run", "--each=x --token=a {in}"], "fab run '--each=x --token=REDACTED '\"'\"'{in}'\"'\"''"),
        (["fab", "x", "--env", "A=b c", "--env=D=e", "--dst", "o"], "fab x --env REDACTED --env=REDACTED --dst o"),
        (["fab", "x", "--secret", "--password", "p"], "fab x --secret REDACTED REDACTED"),
        (
            ["fab", "x", "--prices=https://me:pw@host/p", "http://u@h"],
            "fab x --prices=https://REDACTED@host/p http://REDACTED@h",
        ),
        (["fab", "run", "--include", "*.jpg", "--monkey=1"], "fab run --include '*.jpg' --monkey=1"),
        (["fab"], "fab"),
        ([], ""),
    ],
)
def test_secrets_are_left_out(argv: list[str], expected: str) -> None:
    assert redact_command(argv) == expected
