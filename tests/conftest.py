"""Options of the tests."""

from __future__ import annotations

import random
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from PIL import Image

# A busy machine is no defect: examples are bounded, not timed.
UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
FIXED, RANDOM = "fixed", "random"
settings.register_profile(FIXED, UNTIMED, max_examples=60, derandomize=True)
settings.register_profile(RANDOM, UNTIMED, max_examples=600, print_blob=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="try more: many seeds, random ones, and for a longer time")
    parser.addoption("--chaos-seeds", type=int, help="how many seeds of faults runs must survive (2; with --all 50)")
    parser.addoption(
        "--fuzz-seconds", type=float, help="how long broken bytes are sent to the service (8; with --all 60)"
    )
    parser.addoption("--fuzz-seed", type=int, help="which broken bytes are tried (1; with --all a random one)")


def pytest_configure(config: pytest.Config) -> None:
    """Fill in the options, and let the programs under test hear what a shell ignores for its jobs in the background."""
    everything = config.option.all
    usual = {"chaos_seeds": 2, "fuzz_seconds": 8.0, "fuzz_seed": 1}
    more = {"chaos_seeds": 50, "fuzz_seconds": 60.0, "fuzz_seed": random.randrange(2**32)}
    for name, value in (more if everything else usual).items():
        if getattr(config.option, name) is None:
            setattr(config.option, name, value)
    if not config.getoption("--hypothesis-profile"):
        settings.load_profile(RANDOM if everything else FIXED)
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that needs Docker; tests/unit has a few more, which say so themselves."""
    for item in items:
        if needs_docker(item):
            item.add_marker(pytest.mark.docker)


def needs_docker(item: pytest.Item) -> bool:
    """Return whether a test needs Docker: for a fleet, or for a container with a newer Python than this one."""
    vector = "vrl" in getattr(item, "fixturenames", ()) and sys.version_info < (3, 12)
    return item.path.parent.name in ("ec2", "fleet") or vector


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
