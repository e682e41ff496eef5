"""TLS, client certificates, tokens and how often they may call."""

from __future__ import annotations

import hashlib
from pathlib import Path

import grpc
import pytest
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from service.common.errors import Exhausted, Unauthenticated
from service.common.security import Authenticator
from service.common.tokens import read_tokens
from service.protos import imagescaler_pb2_grpc
from tests.service.authority import Authority, Pair
from tests.service.conftest import picture
from tests.service.servers import Farm, Served, content, failure, health, scaler
from tests.waiting import wait_until

ALICE, BOB = "alice-has-this-token", "bob-has-another-one"


def bearer(token: str, scheme: str = "Bearer") -> tuple[tuple[str, str]]:
    """Metadata that shows a token."""
    return (("authorization", f"{scheme} {token}"),)


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    """A file of two tokens, one of them hashed."""
    file = tmp_path / "tokens"
    file.write_text(f"# people\nalice {ALICE}\n\nbob sha256:{hashlib.sha256(BOB.encode()).hexdigest()}\n")
    return file


def channel(served: Served, authority: Path, client: Pair | None = None) -> grpc.Channel:
    """A connection by TLS."""
    files = [client.key.read_bytes(), client.cert.read_bytes()] if client else []
    credentials = grpc.ssl_channel_credentials(authority.read_bytes(), *files)
    return grpc.secure_channel(f"127.0.0.1:{served.ready['listen']}", credentials)


def test_only_known_tokens_may_call(farm: Farm, tokens: Path) -> None:
    api = farm.api("--size", "160x120", "--tokens", str(tokens))
    call = scaler(api).ScaleImage
    for token in (ALICE, BOB):
        assert call(content(picture()), metadata=bearer(token), timeout=5).content == picture()
    assert call(content(picture()), metadata=bearer(ALICE, "bearer"), timeout=5).content == picture()
    for metadata in (None, bearer("wrong"), bearer(""), bearer(ALICE, "Basic"), bearer(ALICE[:-1]), bearer(BOB + "x")):
        failed = failure(lambda metadata=metadata: call(content(picture()), metadata=metadata, timeout=5))  # type: ignore[misc]
        assert failed.code == "UNAUTHENTICATED"
        assert ALICE not in failed.details
    with grpc.insecure_channel(f"127.0.0.1:{api.ready['listen']}") as plain:
        assert health(plain) == "SERVING"
        assert failure(ProtoReflectionDescriptorDatabase(plain).get_services).code == "UNAUTHENTICATED"
    text = api.file.read_text()
    assert '"caller": "alice"' in text
    assert not any(secret in text for secret in (ALICE, BOB))


def test_each_token_has_its_rate(farm: Farm, tokens: Path) -> None:
    api = farm.api("--size", "160x120", "--tokens", str(tokens), "--rate", "2")
    call = scaler(api).ScaleImage
    for _ in range(2):
        call(content(picture()), metadata=bearer(ALICE), timeout=5)
    failed = failure(lambda: call(content(picture()), metadata=bearer(ALICE), timeout=5))
    assert (failed.code, "grpc-status-details-bin" in failed.trailers) == ("RESOURCE_EXHAUSTED", True)
    call(content(picture()), metadata=bearer(BOB), timeout=5)  # another's calls are not counted

    def again() -> bool:
        try:
            return bool(call(content(picture()), metadata=bearer(ALICE), timeout=5))
        except grpc.RpcError:
            return False

    wait_until(again, 5)


def test_a_bucket_fills_with_time(tokens: Path) -> None:
    now = [0.0]
    keeper = Authenticator(tokens, 4, lambda: now[0])
    for _ in range(4):
        keeper.check(f"Bearer {ALICE}")
    with pytest.raises(Exhausted) as caught:
        keeper.check(f"Bearer {ALICE}")
    assert caught.value.retry_after == 0.25
    now[0] = 0.25
    assert keeper.check(f"Bearer {ALICE}") == "alice"
    with pytest.raises(Unauthenticated):
        keeper.check("Bearer nobody")


@pytest.mark.parametrize(
    "text", ["", "# none", "alice", "a b c", f"a {ALICE}\na {BOB}", "a short", "a sha256:12", "a sha256:" + "G" * 64]
)
def test_files_that_hold_no_tokens(text: str) -> None:
    with pytest.raises(ValueError, match=r"line|no token"):
        read_tokens(text)


def test_tls(farm: Farm, tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    server = authority.sign("api.test")
    api = farm.api("--size", "160x120", "--tls-cert", str(server.cert), "--tls-key", str(server.key))
    with channel(api, authority.cert) as good:
        assert health(good) == "SERVING"
        stub = imagescaler_pb2_grpc.ImageScalerStub(good)
        assert stub.ScaleImage(content(picture()), timeout=5).content == picture()
    assert failure(lambda: scaler(api).ScaleImage(content(picture()), timeout=5)).code == "UNAVAILABLE"  # no TLS
    with channel(api, stranger.cert) as bad:
        assert failure(lambda: health(bad)).code == "UNAVAILABLE"


def test_both_show_certificates_between_api_and_processor(farm: Farm, tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    server, client, other = authority.sign("processors.test"), authority.sign("api.test"), stranger.sign("other.test")
    tls = ["--tls-cert", str(server.cert), "--tls-key", str(server.key), "--client-ca", str(authority.cert)]
    served = farm.processor(*tls)
    flags = ["--size", "40x30", "--processor", f"127.0.0.1:{served.ready['listen']}"]
    flags += ["--processor-ca", str(authority.cert), "--processor-name", "processors.test"]
    shown = {
        "OK": ["--processor-cert", str(client.cert), "--processor-key", str(client.key)],
        "UNAVAILABLE": [],
    }
    for code, more in shown.items():
        api = farm.api(*flags, *more)
        if code == "OK":
            assert scaler(api).ScaleImage(content(picture()), timeout=10).content
        else:
            assert failure(lambda api=api: scaler(api).ScaleImage(content(picture()), timeout=10)).code == code  # type: ignore[misc]
    with channel(served, authority.cert, other) as refused:
        assert failure(lambda: health(refused)).code == "UNAVAILABLE"
    with channel(served, authority.cert, client) as good:
        assert health(good) == "SERVING"
