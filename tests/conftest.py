"""Options of the tests."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from PIL import Image


def pytest_configure() -> None:
    """What a shell ignores for its jobs in the background, the programs under test must hear."""
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--chaos-seeds", type=int, default=5, help="how many seeds of faults runs must survive (5)")
    parser.addoption("--fuzz-seconds", type=float, default=8, help="how long broken bytes are sent to the service (8)")
    parser.addoption("--fuzz-seed", type=int, default=1, help="which broken bytes are tried (1)")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(metafunc.config.getoption("--chaos-seeds")))


@pytest.fixture
def src(tmp_path: Path) -> Path:
    """Twelve small images in two folders."""
    for number in range(12):
        path = tmp_path / "src" / f"folder {number % 2}" / f"plate ({number}).jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((60, 40), number * 5).save(path)
    return tmp_path / "src"


@pytest.fixture
def fuzz_seed(pytestconfig: pytest.Config) -> int:
    """Return the seed for broken bytes; what a failing test printed says how to repeat it."""
    seed = int(pytestconfig.getoption("--fuzz-seed"))
    print(f"To repeat this, run pytest with --fuzz-seed={seed}")
    return seed
