"""Groups of inputs by a regular expression: the inputs of one have the same in the pattern's parentheses."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
import warnings
from collections.abc import Iterator, Sequence

from fanrun.fanout.plan import Input, folder_of
from fanrun.fleet.errors import UsageError

EXTENSIONS = re.compile(r"(?:\\\.|\[\.\])\([^()?][^()]*\|[^()]*\)\$?$|\(\\\.[^()|]*(?:\|\\\.[^()|]*)+\)\$?$")
r"""A list of extensions at the end of a pattern: \.(shp|dbf), or (\.shp|\.dbf)."""
SEPARATORS = "._- "
"""What may stand between the part of a name that files have in common and the rest."""
MATCH_SECONDS, MATCH_SECONDS_EACH = 10.0, 0.0001
"""The processor time in which a pattern has to be compared with all names, and for each of them besides."""
Common = tuple["str | None", ...]
"""What is equal in all files of a group: their folder, and what the pattern's parentheses match."""


def compile_pattern(by: str) -> re.Pattern[str]:
    """Return the pattern; UsageError if it is none, or has no parentheses that say what files have in common."""
    example = r"write what files have in common in parentheses, as '(.*)_R[12]\.fastq\.gz'"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pattern = re.compile(by, re.DOTALL)  # names may have line ends
    except (re.error, OverflowError, RecursionError) as error:
        raise UsageError(
            f"--group-by {by!r} is neither stem nor folder nor a regular expression ({error}); {example}"
        ) from error
    if not pattern.groups:
        raise UsageError(f"--group-by {by!r} has no group; {example}")
    return pattern


def by_pattern(inputs: Sequence[Input], by: str) -> list[tuple[list[Input], tuple[bytes, ...]]]:
    """Return the inputs of each group, and its stems; an input that the pattern does not match is alone, without stems.

    Raises UsageError if the pattern takes too long.
    """
    pattern = compile_pattern(by)
    found: dict[Common, list[Input]] = {}
    others = list[Input]()
    with _limited_time(by, len(inputs)):
        for item in inputs:
            common = _common(pattern, os.fsdecode(item.key))
            (others if common is None else found.setdefault(common, [])).append(item)
    return [*(([item], ()) for item in others), *((files, _stems(common, files)) for common, files in found.items())]


def _common(pattern: re.Pattern[str], path: str) -> Common | None:
    """Return what a path has to share with others to be in one group with them; None if the pattern does not match it.

    A pattern with a "/" is matched against the whole path, one without against the file's name in its folder.
    """
    folder, _, name = path.rpartition("/")
    is_path = "/" in pattern.pattern
    match = pattern.fullmatch(path if is_path else name)
    if match is None:
        return None
    groups = match.groups()
    # (shp|dbf) at the end has parentheses because alternatives need them.
    compared = groups[:-1] if len(groups) > 1 and EXTENSIONS.search(pattern.pattern) else groups
    return ("" if is_path else folder, *compared)


def _stems(common: Common, files: Sequence[Input]) -> tuple[bytes, ...]:
    """Return the stems of a group in its folder: all that the pattern's parentheses match, and the first of that."""
    texts = [text.rstrip(SEPARATORS) or text for text in common[1:] if text]
    names = dict.fromkeys(os.path.basename(text) for text in ("_".join(texts), *texts[:1]))
    stems = tuple(os.path.join(folder_of(files), os.fsencode(name)) for name in names if name)
    return stems or (os.path.splitext(files[0].key)[0],)


@contextlib.contextmanager
def _limited_time(by: str, count: int) -> Iterator[None]:
    """Raise UsageError if a pattern takes too long: some need longer than a life for a name of 40 characters.

    Signals reach the main thread alone; elsewhere there is no limit.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise UsageError(
            f"--group-by {by!r} takes too long to be matched; write it without repeats within repeats, as (a+)+"
        )

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, MATCH_SECONDS + MATCH_SECONDS_EACH * count)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
