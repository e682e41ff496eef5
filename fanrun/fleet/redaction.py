"""Command lines that are fit to be written down: as they were typed, without secrets."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

HIDDEN = "REDACTED"
SECRET = re.compile(r"pass(word|wd|phrase)?|pwd|secret|token|credentials?|auth|env|key", re.IGNORECASE)
"""A word in the name of an option, or of a variable, whose value may be a secret."""
OPTION = re.compile(r"(?P<name>-{0,2}[A-Za-z][\w.-]*)(?P<sign>=?)(?P<value>.*)", re.DOTALL)
COMMANDS = ("--args", "--each")
"""Options whose values are commands themselves."""
USER_INFO = re.compile(r"(?<=://)[^/@\s]+(?=@)")
"""User and password in a URL."""


def redact_command(argv: Sequence[str]) -> str:
    """Return a command as one would type it, with secret values replaced by `REDACTED`; its program without folder."""
    return shlex.join([Path(argv[0]).name, *redact_words(argv[1:])]) if argv else ""


def redact_words(words: Sequence[str]) -> list[str]:
    """Return the words of a command with secret values replaced; those of COMMANDS are words of another command."""
    redacted: list[str] = []
    option = ""
    for word in words:
        redacted.append(_redact_value(option, word) if option else _redact_word(word))
        is_option = word.startswith("-") and "=" not in word
        option = word if is_option and (_is_secret(word) or word in COMMANDS) else ""
    return redacted


def _redact_word(word: str) -> str:
    """Return a word with the value of `name=value` redacted."""
    found = OPTION.fullmatch(word)
    if found is None or not found["sign"]:
        return USER_INFO.sub(HIDDEN, word)
    return f"{found['name']}={_redact_value(found['name'], found['value'])}"


def _redact_value(option: str, value: str) -> str:
    """Return the value of an option, redacted."""
    if option in COMMANDS:
        try:
            return shlex.join(redact_words(shlex.split(value)))
        except ValueError:  # a quote that does not end
            return HIDDEN
    return HIDDEN if _is_secret(option) else USER_INFO.sub(HIDDEN, value)


def _is_secret(name: str) -> bool:
    return any(SECRET.fullmatch(part) for part in re.split(r"[-_.]+", name))
