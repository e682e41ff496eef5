"""Options of the tests, and which of them stay together when several processes run them."""

from __future__ import annotations

import pytest

APART = "test_faults.py"
"""The one file whose tests mostly wait: any process may take any of them."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--chaos-seeds", type=int, default=5, help="how many seeds of faults runs must survive (5)")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(metafunc.config.getoption("--chaos-seeds")))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.name != APART:
            item.add_marker(pytest.mark.xdist_group(item.path.name))
