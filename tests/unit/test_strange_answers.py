"""An endpoint of AWS's that is somebody else: one line, and never "there are no hosts"."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from provision.providers.ec2.api import Answer, ApiError
from tests.unit.fab_world import Done, run_fab

STS = b"""<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>
<Account>123456789012</Account><Arn>a</Arn><UserId>u</UserId></GetCallerIdentityResult></GetCallerIdentityResponse>"""
HTML = (
    b"<!DOCTYPE html>\n<html><head><title>Log in</title><meta charset=utf-8></head>\n<body>Hotel &nbsp;</body></html>"
)
INSTANCE = b"""<DescribeInstancesResponse><reservationSet><item><instancesSet><item><imageId>x</imageId></item>
</instancesSet></item></reservationSet></DescribeInstancesResponse>"""
BODIES = {
    "HTML": HTML,
    "XHTML": b"<html><body>Log in</body></html>",
    "nothing": b"",
    "garbage": b"\x00\xff\x1f\x8b garbage",
    "JSON": b'{"message": "hello"}',
    "another answer": b"<DescribeInstancesResponse></DescribeInstancesResponse>",
    "an instance without parts": INSTANCE,
}


class Stranger(BaseHTTPRequestHandler):
    """Answers every call with `body`, but who is asking where `knows` says so."""

    status, body, knows, url = 200, b"", False, ""

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers["Content-Length"]))
        body = STS if self.knows and b"GetCallerIdentity" in asked else self.body
        self.send_response(200 if body is STS else self.status)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def stranger() -> Iterator[type[Stranger]]:
    class Mine(Stranger):
        """One test's own."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Mine) as server:
        Mine.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Mine
        server.shutdown()


def fab(url: str, home: Path, *argv: str) -> Done:
    environment = {
        **os.environ,
        "FANRUN_HOME": str(home),
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_MAX_ATTEMPTS": "1",
    }
    return run_fab([*argv, "--provider=ec2", "--region=us-east-1"], environment)


@pytest.mark.parametrize(("knows", "action"), [(False, "sts:GetCallerIdentity"), (True, "ec2:DescribeInstances")])
@pytest.mark.parametrize("body", BODIES)
def test_an_answer_that_is_not_amazons(
    stranger: type[Stranger], tmp_path: Path, body: str, knows: bool, action: str
) -> None:
    stranger.body, stranger.knows = BODIES[body], knows
    done = fab(stranger.url, tmp_path, "down", "--dry-run")
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    errors = done.stderr.splitlines()
    assert len(errors) == 1
    assert errors[0].startswith(f"error: {action} was not answered as Amazon does ("), errors
    assert "look at the proxy" in errors[0]


@pytest.mark.parametrize("status", [403, 404])
def test_a_refusal_that_is_not_amazons(stranger: type[Stranger], tmp_path: Path, status: int) -> None:
    stranger.body, stranger.status = HTML, status
    done = fab(stranger.url, tmp_path, "up", "--hosts=1", "--dry-run")
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert [line.startswith("error: ") for line in done.stderr.splitlines()] == [False, True]
    assert "Traceback" not in done.stderr


def test_hosts_that_could_not_be_asked_are_not_told_as_none(stranger: type[Stranger], tmp_path: Path) -> None:
    stranger.body, stranger.knows = HTML, True
    done = fab(stranger.url, tmp_path, "up", "--hosts=1")
    assert done.returncode == 1
    assert "no hosts yet" not in done.stderr
    assert "provider ec2 could not be asked what exists; `fab up` goes on from here" in done.stderr


def test_every_part_of_an_answer_is_checked() -> None:
    answer = Answer("ec2:X", {"List": [{"State": {"Name": "running"}}], "Text": "x"})
    assert answer["List"][0]["State"]["Name"] == answer["List"][0].get("State")["Name"] == "running"
    assert answer.get("Other") is None
    with pytest.raises(ApiError, match=r"ec2:X was not answered as Amazon does \(there is no Code in it\); look at"):
        answer["List"][0]["State"]["Code"]
