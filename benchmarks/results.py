"""Keeps benchmarks/results.md: what is measured anew takes the place of what was measured before."""

from __future__ import annotations

import re

HEADING = re.compile(r"^(?=## )", re.MULTILINE)


def merge(old: str, new: str) -> str:
    """Return the old text with the sections of the new one in the place of those of the same heading, or behind them.

    What stands before the first section is the new text's, if it has any.
    """
    head, *sections = HEADING.split(old)
    new_head, *new_sections = HEADING.split(new)
    found = {_heading(section): section for section in sections}
    found |= {_heading(section): section for section in new_sections}
    parts = [new_head if new_head.strip() else head, *found.values()]
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def _heading(section: str) -> str:
    return section.partition("\n")[0]
