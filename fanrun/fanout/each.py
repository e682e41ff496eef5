"""A command that is run for each input: how a person writes it, and how a worker is told."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from importlib import resources

from fanrun.fanout.worker_files.each import FIELD, FIELDS
from fanrun.fleet.errors import UsageError
from fanrun.fleet.script import read_script

FILES = "fanrun.fanout.worker_files"
PROGRAM, LOOP = (resources.files(FILES) / "each.py").read_text("utf-8"), read_script(FILES, "each.sh")
"""What runs beside the container, and in it."""
SCRIPT, JOBS = "/each.sh", "1"
"""Where a container finds the script of its batch, and how many commands run there at the same time."""
QUOTED = re.compile(r"""'[^']*'|"(?:\\.|[^"\\])*"|\\.""", re.DOTALL)
"""What a shell takes literally."""
OPERATOR = re.compile(r"[|&;<>`]|\$(?!$|\s)")
"""What only a shell understands."""
SHELLS = ("ash", "bash", "dash", "ksh", "mksh", "sh", "zsh")
IN_A_SHELL = """a shell gets names as arguments: sh -c '… "$1" … "$2.txt"' sh {in} {out}"""
USUAL = "write it as 'ffmpeg -i {in} {out}.mp4'"


def parse(text: str) -> tuple[str, ...]:
    """Return the words of a command, with the FIELDS in them; UsageError for one that can't be meant."""
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise _unusable(text, str(error), USUAL) from error
    if operator := OPERATOR.search(QUOTED.sub("", text)):
        raise _unusable(text, f"no shell runs it, so {operator[0]} can't be used", IN_A_SHELL)
    for word in words:
        _check_fields(text, word)
    _check_program(text, words)
    if not _fields(words) & {"in"}:
        raise _unusable(text, "{in} is missing, which is the path of the input", USUAL)
    if not _fields(words) & {"out"} and not any("/out" in word for word in words):
        raise _unusable(text, "{out} is missing, which is where results go", USUAL)
    return words


def script(source: str) -> str:
    """Return where the script of a batch is made on the worker, by the folder of its inputs there."""
    return f"{source}.each.sh"


def argv(words: Sequence[str], source: str, target: str) -> list[str]:
    """Return the beginning of a command: what runs the words for each input in the container that the rest starts.

    `source` and `target` are the folders of a batch on the worker.
    """
    paths = [source, script(source), target]
    return ["python3", "-I", "-S", "-c", PROGRAM, LOOP, JOBS, *paths, str(len(words)), *words]


def _fields(words: Sequence[str]) -> set[str]:
    return {found[0][1:-1].decode() for word in words for found in FIELD.finditer(os.fsencode(word))}


def _check_fields(text: str, word: str) -> None:
    """Raise UsageError for a brace that begins no field."""
    rest = FIELD.sub(b"", os.fsencode(word)).decode(errors="replace")
    if unknown := re.search(r"\{\w*\}", rest):
        raise _unusable(text, f"there is no {unknown[0]}", f"there are {_listed(FIELDS)}; braces are {{{{ and }}}}")
    if brace := re.search("[{}]", rest):
        raise _unusable(text, f"a {brace[0]} stands alone", "braces are {{ and }}")


def _check_program(text: str, words: Sequence[str]) -> None:
    """Raise UsageError if the first word is no program, or a shell would read names as its own text."""
    if not words or not words[0] or words[0].startswith("-"):
        raise _unusable(text, "it names no program", USUAL)
    if re.match(r"[A-Za-z_]\w*=", words[0]):
        raise _unusable(text, "it begins with a variable", f"set it by env: 'env {words[0]} …'")
    for shell, option, script in zip(words, words[1:], words[2:], strict=False):
        if os.path.basename(shell) in SHELLS and re.fullmatch(r"-[a-z]*c", option) and _fields([script]) & set(FIELDS):
            raise _unusable(text, "names in the text of a shell would be run by it", IN_A_SHELL)


def _listed(fields: Sequence[str]) -> str:
    return ", ".join(f"{{{field}}}" for field in fields)


def _unusable(text: str, why: str, hint: str) -> UsageError:
    return UsageError(f"--each {text!r}: {why}; {hint}")
