"""Variants of a test: a few belong to the suite, and the rest run with the long tests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import pytest
from _pytest.mark.structures import ParameterSet

T = TypeVar("T")


def some(values: Iterable[T], *usual: T) -> list[T | ParameterSet]:
    """Return the values of a parameter, those marked as long that are not the `usual` ones.

    Raises ValueError for a usual one that is no value.
    """
    known = list(values)
    if strange := [value for value in usual if value not in known]:
        raise ValueError(f"no values of the parameter: {strange}")
    return [value if value in usual else pytest.param(value, marks=pytest.mark.long) for value in known]
