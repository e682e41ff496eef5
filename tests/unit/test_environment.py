"""Variables that are meant for other uses of the programs and libraries that Fanrun works with."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fanrun.fleet import environment

FOREIGN = {
    "RSYNC_ICONV": "latin1,utf-8",
    "RSYNC_MAX_ALLOC": "10",
    "RSYNC_CHECKSUM_LIST": "none",
    "LOGURU_LEVEL": "none",
    "DOCKER_DEFAULT_PLATFORM": "linux/s390x",
    "DOCKER_API_VERSION": "1.12",
    "BUILDX_BUILDER": "none",
    "DOCKER_BUILDKIT": "1",
}
KEPT = {
    "DOCKER_HOST": "unix:///x",
    "DOCKER_CONTEXT": "x",
    "DOCKER_CONFIG": "/x",
    "DOCKER_CONTENT_TRUST": "1",
    "http_proxy": "http://x",
    "PATH": "/bin",
    "FANRUN_HOME": "/x",
}


@pytest.mark.parametrize("buildkit", [{}, {"DOCKER_BUILDKIT": "0"}])
def test_what_is_meant_for_other_uses_goes(buildkit: dict[str, str]) -> None:
    found = {**FOREIGN, **KEPT, **buildkit}
    environment.clean(found)
    assert found == {**KEPT, **buildkit}


def test_only_pulls_look_for_signatures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONTENT_TRUST", "1")
    assert environment.without_trust() == {key: each for key, each in os.environ.items() if key != environment.TRUST}


def test_a_build_keeps_its_notes_where_that_can_be_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/proc")
    with environment.for_build() as found:
        notes = Path(found["BUILDX_CONFIG"])
        (notes / "note").touch()
    assert not notes.exists()
