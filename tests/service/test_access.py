"""What callers are told who can't reach the API, each in one line, and where a token may go."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from service.loadtest.access import is_loopback
from tests.service.authority import Authority, Pair
from tests.service.conftest import picture
from tests.service.servers import ROOT, Farm, Served
from tests.variants import some

Call = Callable[..., tuple[int, str]]
TOKEN = "secret-of-the-caller"


class Place:
    """A home of fleets, one of which is known: its authority, and a certificate to show."""

    def __init__(self, folder: Path) -> None:
        self.home, self.fleet = folder, folder / "default"
        self.fleet.mkdir(parents=True)
        self.authority = Authority(folder)
        (self.fleet / "ca.crt").write_bytes(self.authority.cert.read_bytes())
        pair = self.authority.sign("caller")
        (self.fleet / "client.crt").write_bytes(pair.cert.read_bytes())
        (self.fleet / "client.key").write_bytes(pair.key.read_bytes())
        self.server = self.authority.sign("localhost")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "home")


@pytest.fixture(params=some(["client", "load"], "client"))
def call(request: pytest.FixtureRequest, place: Place, tmp_path: Path) -> Call:
    """Call a server by one of both programs: (exit code, what was said on stderr)."""
    (tmp_path / "a.jpg").write_bytes(picture())

    def run(server: str, *flags: str, **environment: str) -> tuple[int, str]:
        if request.param == "client":
            argv = [str(ROOT / "service/loadtest/client.py"), str(tmp_path / "a.jpg"), "-o", str(tmp_path / "out.jpg")]
            argv += ["--server", server, "--timeout", "5"]
        else:
            argv = [str(ROOT / "service/loadtest/load.py"), "--images", str(tmp_path), "--rate", "5", "--seconds", "1"]
            argv += ["--target", server]
        own = {key: value for key, value in os.environ.items() if not key.startswith(("GRPC_", "FANRUN_", "IMAGE"))}
        own |= {"FANRUN_HOME": str(place.home), **environment}
        done = subprocess.run(
            [sys.executable, *argv, *flags], cwd=tmp_path, env=own, capture_output=True, text=True, timeout=60
        )
        return done.returncode, done.stderr

    return run


def tls(pair: Pair, *more: str) -> list[str]:
    return ["--size", "160x120", "--tls-cert", str(pair.cert), "--tls-key", str(pair.key), *more]


def where(served: Served, name: str = "localhost") -> str:
    return f"{name}:{served.ready['listen']}"


def test_the_authority_and_the_certificate_of_the_fleet_are_the_defaults(call: Call, place: Place, farm: Farm) -> None:
    api = farm.api(*tls(place.server, "--client-ca", str(place.authority.cert)))
    assert call(where(api)) == (0, "")
    assert call(where(api), "--ca", str(place.authority.cert)) == (0, "")
    place.fleet.rename(place.home / "other")
    assert call(where(api), "--fleet", "other") == (0, "")
    assert call(where(api), FANRUN_FLEET="other") == (0, "")
    code, told = call(where(api))
    assert (code, len(told.splitlines())) == (2, 1)
    assert f"no fleet is known here ({place.fleet / 'ca.crt'}): give --fleet, --ca, or --plaintext" in told


def test_what_is_wrong_is_told_in_one_line(call: Call, place: Place, farm: Farm, tmp_path: Path) -> None:
    stranger = Authority(tmp_path, "stranger")
    pair = stranger.sign("stranger.test")
    plain, secure = farm.api("--size", "160x120"), farm.api(*tls(place.server))
    mutual = farm.api(*tls(place.server, "--client-ca", str(place.authority.cert)))
    other = farm.api(*tls(place.authority.sign("elsewhere.test")))
    (place.fleet / "client.crt").rename(tmp_path / "client.crt")
    shown = ["--cert", str(pair.cert), "--key", str(pair.key)]
    (tmp_path / "empty.pem").write_text("")
    (tmp_path / "token").write_bytes(b"\xff\xfe")
    cases: list[tuple[Served, list[str], str]] = [
        (secure, ["--ca", str(stranger.cert)], f"its certificate is not of {stranger.cert} ("),
        (other, [], "its certificate is not for this address ("),
        (plain, [], "it speaks no TLS: give --plaintext"),
        (secure, ["--plaintext"], "it speaks TLS: leave out --plaintext"),
        (mutual, ["--plaintext"], "it speaks TLS: leave out --plaintext"),
        (mutual, [], "it wants a certificate from its callers: give --cert and --key"),
        (mutual, shown, f"it does not take the certificate in {pair.cert}"),
        (secure, ["--ca", "none.pem"], "none.pem can't be read (No such file or directory)"),
        (secure, ["--ca", str(tmp_path / "empty.pem")], "empty.pem holds no certificate"),
        (secure, ["--cert", str(pair.cert)], "--cert and --key belong together"),
        (secure, ["--cert", str(pair.cert), "--key", "none.key"], "none.key can't be read"),
        (secure, ["--cert", str(pair.cert), "--key", str(place.server.key)], "are no certificate and its key"),
        (secure, ["--plaintext", "--ca", str(pair.cert)], "leave out --ca, --cert and --key, or --plaintext"),
        (secure, ["--token-file", "no-token"], "no-token can't be read"),
        (secure, ["--token-file", str(tmp_path / "token")], "holds no token"),
    ]
    for served, flags, words in cases:
        code, told = call(where(served), *flags)
        assert (code in (1, 2), len(told.splitlines()), words in told) == (True, 1, True), (flags, words, told)


def test_a_token_does_not_travel_in_clear(call: Call, farm: Farm, tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text(f"ada {TOKEN}\n")
    api = farm.api("--size", "160x120", "--tokens", str(tmp_path / "tokens"))
    assert call(where(api), "--plaintext", IMAGESCALER_TOKEN=TOKEN) == (0, "")
    # What is meant for this machine goes to no proxy either.
    assert call(where(api), "--plaintext", IMAGESCALER_TOKEN=TOKEN, http_proxy="http://127.0.0.1:9", no_proxy="") == (
        0,
        "",
    )
    (tmp_path / "token").write_text(TOKEN)
    for more in ({"IMAGESCALER_TOKEN": TOKEN}, {}):
        flags = ["--plaintext"] if more else ["--plaintext", "--token-file", str(tmp_path / "token")]
        code, told = call("192.0.2.1:50051", *flags, **more)
        assert (code, len(told.splitlines())) == (2, 1)
        assert "the token would travel to 192.0.2.1:50051 in clear: leave out --plaintext" in told
        assert TOKEN not in told


def test_what_is_no_token_is_told(call: Call, place: Place, farm: Farm) -> None:
    code, told = call("localhost:1", IMAGESCALER_TOKEN="two words")
    assert (code, len(told.splitlines()), "IMAGESCALER_TOKEN holds no token" in told) == (2, 1, True)


@pytest.mark.parametrize(
    ("server", "own"),
    [
        ("localhost:1", True),
        ("127.0.0.1:1", True),
        ("127.9.9.9:1", True),
        ("[::1]:1", True),
        ("10.0.0.1:1", False),
        ("localhost.example:1", False),
        ("dns:///localhost:1", False),
        ("localhost", False),
        ("ipv4:127.0.0.1:1,10.0.0.1:1", False),
        ("0.0.0.0:1", False),
    ],
)
def test_what_only_this_machine_hears(server: str, own: bool) -> None:
    assert is_loopback(server) is own
