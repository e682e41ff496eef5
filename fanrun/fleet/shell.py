"""What is sent to a host's login shell, and how the answer is told from what else a login prints.

The login shell may be any (sh, bash, zsh, csh, tcsh, fish), and its startup files may print.  So it gets one line that
all of them read alike; that hands over to /bin/sh, which frames the command's output with a mark.
"""

from __future__ import annotations

import os
import secrets
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fanrun.fleet.script import read_script

NONCE = secrets.token_hex(8)
MARK = f"<{NONCE}>"
"""Nobody can guess it, and a shell that traces its commands prints them, which have NONCE in them but not this."""

FRAME = read_script("fanrun.fleet", "frame.sh").rstrip("\n")
PLAIN = frozenset(b'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _./:=,@%+-"$(){}<>|&;*?[]#~^`')
"""What every shell leaves alone within single quotes."""
MAX_WORD = 900
"""BSD's csh refuses words of more than 1,024 characters."""


@dataclass(frozen=True)
class Heard:
    """One stream of a command: `text` is its own, `noise` what the login printed before it.

    Where the command never began, all is noise.
    """

    text: str
    noise: str
    began: bool


def line(argv: Sequence[str]) -> str:
    """Return the line by which any login shell runs argv; its bytes may be any but NUL."""
    words = [""]
    for byte in os.fsencode(shlex.join(argv)):
        code = chr(byte) if byte in PLAIN else f"\\0{byte:03o}"
        if len(words[-1]) + len(code) > MAX_WORD:
            words.append("")
        words[-1] += code
    return " ".join(["exec /bin/sh -c", *(f"'{word}'" for word in (FRAME, NONCE, *words))])


def read(output: str) -> Heard:
    """Tell what a command wrote to a stream from what the login printed before it, and after it."""
    noise, mark, rest = output.partition(MARK)
    return Heard(rest.partition(MARK)[0], noise, bool(mark))


def refusal(output: str, error: str) -> str:
    """Say why no command ran although there was a login: its shell is nologin, or its startup files end it."""
    words = _words(reversed(error.splitlines())) or _words(reversed(output.splitlines())) or "it said nothing"
    return f"its login shell runs no commands ({words}); give the login another shell, as with chsh -s /bin/sh"


def complaint(noise: str, file: str = "") -> str:
    """Say what a login prints, and that it must not; `file` is what prints it, if that is known."""
    words = first_words(noise)
    where = file or "what its shell reads at the start (`fab up` names the file)"
    return (
        f"its login prints {repr(words) if words else 'blank lines'}, which breaks rsync; "
        f"remove that from {where}, or print it in interactive shells alone"
    )


def first_words(noise: str) -> str:
    """Return the first line that is not blank, cut and printable; "" if there is none."""
    return _words(noise.splitlines())


def _words(lines: Iterable[str]) -> str:
    found = next((each for each in lines if each.strip()), "")
    return "".join(char for char in found.strip() if char.isprintable())[:60]
