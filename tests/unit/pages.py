"""Read the pages of the documentation: headings, links, tables and the commands in blocks of code."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from fanrun.tasks import collection

ROOT = Path(__file__).resolve().parents[2]
TASKS = collection.TASKS.to_contexts()
"""The tasks as Fabric parses them.  Made once: to make them takes the help texts out of the tasks."""
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL = ("", "console", "sh", "shell", "bash")
"""The languages of blocks that may hold commands."""
COMMAND = re.compile(r"(?:\$ )?(?:[A-Z_]+=\S+ )*(?:\S*/)?fab (.*)")


TYPED = re.compile(r"(?:[A-Z_]+=\S+ )*(?:\S*/)?(?:aws|docker|fab|kill|kubectl|ls|python|ssh) .+|script/.+|\. .+")
"""A command in a block of code that has no language."""


def pages() -> list[Path]:
    """Return every page of the project."""
    folders = ("benchmarks", "docs", "tests")
    return sorted([*ROOT.glob("*.md"), *(path for name in folders for path in (ROOT / name).rglob("*.md"))])


def read(name: str) -> str:
    """Return the text of a page, by its path in the project."""
    return (ROOT / name).read_text("utf-8")


def prose(text: str) -> str:
    """Return a page without its blocks of code."""
    return FENCE.sub("", text)


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings, and those that the page sets itself."""
    found, seen = set(re.findall(r'<a id="([^"]+)">', text)), Counter[str]()
    for heading in re.findall(r"^#{1,6} +(.+?) *$", prose(text), re.MULTILINE):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def links(text: str) -> list[str]:
    """Return the targets of a page's links that lead into the project."""
    targets = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", prose(text)))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def section(text: str, heading: str) -> str:
    """Return what stands under a heading of the second level; "" if there is none."""
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return found[1] if found else ""


def scripts(text: str) -> Iterator[list[str]]:
    """Yield the commands of each block of code that consists of commands only and names no language; no comments."""
    for language, block in FENCE.findall(text):
        lines = [line.partition("  #")[0].strip() for line in block.replace("\\\n", " ").splitlines()]
        if not language and lines and all(TYPED.fullmatch(line) for line in lines):
            yield lines


def file_name(text: str, block: re.Match[str]) -> str:
    """Return the path of the file that a block of a page is the content of; "" if it is no file."""
    found = re.search(r"`(\S+)`:\n\n\Z", text[: block.start()])
    return found[1] if found else ""


def files(text: str) -> Iterator[tuple[str, str]]:
    """Yield the files that a page tells the reader to write: (path, content)."""
    for block in FENCE.finditer(text):
        if name := file_name(text, block):
            yield name, block[2]


def fab_commands(text: str) -> Iterator[list[str]]:
    """Yield the arguments of each `fab` command in a page's blocks of code."""
    for language, block in FENCE.findall(text):
        for line in block.replace("\\\n", " ").splitlines() if language in SHELL else ():
            if found := COMMAND.fullmatch(line.strip()):
                yield shlex.split(found[1], comments=True)
