"""Run a command for each input of a batch, in one container, and report what became of each input.

Its main() is called with the arguments LOOP JOBS SOURCE SCRIPT TARGET COUNT WORD... PROGRAM [ARG]...

LOOP is the text of each.sh, JOBS how many commands run at the same time. SOURCE is the folder of the inputs, TARGET the
folder of the batch: `data` in it is the container's /out, `report.jsonl` gets a line for each input. The COUNT WORDs
are the command, with the FIELDS that are replaced for each input. PROGRAM starts the container, which runs the file
SCRIPT that is made here. The exit code is the program's.

The script tells on stderr how each command ended. These lines are taken out; the last line that came before one of them
is the reason of a command that failed. A container has nothing but its shell for sure, so this is done outside of it.
Only Python's standard library is used, and little of it: this program starts once for each batch.
"""

from __future__ import annotations

import json
import os
import re
import select
import sys

FIELDS = ("in", "out", "stem", "name", "folder")
FIELD = re.compile(rb"\{\{|\}\}|\{(?:" + "|".join(FIELDS).encode() + rb")\}")
"""What is replaced in the words of a command."""
KILLED = 137
"""The exit code of a program that was killed."""
MEANINGS = {135: ", a bus error", KILLED: ", it was killed, as the memory limit does", 139: ", a segmentation fault"}
"""What exit codes say about the end of a program."""
OF_THE_SHELL = re.compile(r"\S*each\.sh:(?: exec:)?(?: line)? \d+:(?: exec:)? ")
"""How shells begin to say that they find no such program."""
PIECE = 64 * 1024  # bytes that are read at once
TAIL = 4096  # bytes of a command's stderr that are kept to find its last line
MAX_LINE = 500  # characters of that line
TICK = 0.1  # seconds between two looks at a program that writes nothing
SIGPIPE, SIGXFSZ = 13, 25  # the module signal costs milliseconds; Python ignores these two


def list_keys(source: bytes) -> list[bytes]:
    """Return the paths of the files in a folder, relative to it, in order."""
    start = len(source.rstrip(b"/")) + 1
    return sorted(os.path.join(folder, name)[start:] for folder, _, names in os.walk(source) for name in names)


def command(words: list[bytes], key: bytes) -> list[bytes]:
    """Return the command of one input."""
    folder, name = os.path.split(key)
    values = {
        b"{in}": b"/in/" + key,
        b"{out}": b"/out/" + os.path.splitext(key)[0],
        b"{stem}": os.path.splitext(name)[0],
        b"{name}": name,
        b"{folder}": folder or b".",
        b"{{": b"{",
        b"}}": b"}",
    }
    return [FIELD.sub(lambda found: values[found[0]], word) for word in words]


def quote(word: bytes) -> bytes:
    """Return a word as a shell takes it literally, whatever bytes it has."""
    return b"'" + word.replace(b"'", b"'\\''") + b"'"


def script(loop: bytes, mark: bytes, words: list[bytes], keys: list[bytes]) -> bytes:
    """Return the script that the container runs."""
    calls = [b"each %d " % place + b" ".join(map(quote, command(words, key))) for place, key in enumerate(keys)]
    return b"\n".join([b"each_mark=" + mark, loop, *calls, b"exit $each_failed", b""])


def make_folders(data: bytes, keys: list[bytes]) -> None:
    """Make the folders of the results; they belong to whom `data` belongs, who is another if this runs as root."""
    owner = os.stat(data)
    for folder in sorted({os.path.dirname(key) for key in keys} - {b""}):
        path = data
        for part in folder.split(b"/"):
            path = os.path.join(path, part)
            if not os.path.isdir(path):
                os.mkdir(path)
                os.chown(path, owner.st_uid, owner.st_gid)


def last_line(written: bytes) -> str:
    """Return the last line that a command wrote to stderr, as the end of a reason."""
    lines = written.replace(b"\r", b"\n").decode("utf-8", "replace").split("\n")
    last = next((line.strip()[:MAX_LINE] for line in reversed(lines) if line.strip()), "")
    return f": {OF_THE_SHELL.sub('', last, 1)}" if last else ""


class Ends:
    """Takes the ends of commands out of what a container writes to stderr, and writes the report."""

    def __init__(self, report: bytes, mark: bytes, keys: list[bytes], *, alone: bool) -> None:
        """`mark` begins what tells of an end; `alone` is whether one command runs at a time, so that lines are its."""
        self.report, self.mark, self.keys, self.alone = report, mark, keys, alone
        self.rest = self.written = b""
        self.next = 0

    def take(self, data: bytes) -> bytes:
        """Return what is to be passed on: the lines that are complete now, without those that tell of ends."""
        *lines, self.rest = (self.rest + data).split(b"\n")
        passed = b"".join(map(self.read, lines))
        if len(self.rest) > 2 * TAIL:  # a line without an end
            passed, self.rest = passed + self.rest[:-TAIL], self.rest[-TAIL:]
        return passed

    def read(self, line: bytes) -> bytes:
        """Return what is to be passed on of a line; a command may have left its last line without an end."""
        before, mark, end = line.partition(self.mark)
        written = before + b"\n" if before or not mark else b""
        self.written = (self.written + written)[-TAIL:]
        if mark:
            self.settle(end)
            self.written = b""
        return written

    def settle(self, end: bytes) -> None:
        """Report the input whose command has ended."""
        try:
            place, code, hundredths = (int(word) for word in end.split())
            key = self.keys[place]
        except (ValueError, IndexError):  # some program has read the mark, and plays with it
            return
        last = last_line(self.written) if self.alone else ""
        error = f"exit {code}{MEANINGS.get(code, '')}{last}" if code else None
        self.next = place + 1
        append(self.report, report_line(key, hundredths / 100, error, killed=code == KILLED))

    def stop(self) -> None:
        """Report the input whose command ran when the container was stopped because nothing was finished."""
        if self.alone and self.next < len(self.keys):
            error = f"it finished nothing within the timeout and was stopped{last_line(self.written + self.rest)}"
            append(self.report, report_line(self.keys[self.next], None, error))


def report_line(key: bytes, seconds: float | None, error: str | None, *, killed: bool = False) -> bytes:
    """Return the line of an input in the report; a byte of its path that is not UTF-8 is a lone surrogate."""
    path = key.decode("utf-8", "surrogateescape")
    line = {"path": path, "ok": error is None, "seconds": seconds, "error": error}
    return json.dumps({**line, "killed": True} if killed else line).encode() + b"\n"


def append(path: bytes, line: bytes) -> None:
    """Append a line to a file; where the disk is full it is not there, and the input counts as not reported."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(file, line)
        finally:
            os.close(file)
    except OSError:
        pass


def start(argv: list[bytes]) -> tuple[int, int]:
    """Start a program; return its process id and the pipe that has what it writes to stderr."""
    reader, writer = os.pipe()
    actions = [(os.POSIX_SPAWN_DUP2, writer, 2)]
    child = os.posix_spawnp(argv[0], argv, os.environ, file_actions=actions, setsigdef=[SIGPIPE, SIGXFSZ])
    os.close(writer)
    return child, reader


def ended(child: int) -> int | None:
    """Return the exit code of a program as a shell would, None while it runs."""
    found, status = os.waitpid(child, os.WNOHANG)
    if not found:
        return None
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def run(argv: list[bytes], ends: Ends) -> int:
    """Run a program to its end, and pass on what it writes to stderr; return its exit code."""
    child, reader = start(argv)
    code = None
    while True:
        ready = select.select([reader], [], [], TICK)[0]
        data = os.read(reader, PIECE) if ready else b""
        write(ends.take(data))
        if ready and not data:
            break
        if not ready and code is not None:
            break  # something that the program has left behind keeps its stderr open
        code = ended(child) if code is None else code
    write(ends.rest)
    while code is None and (code := ended(child)) is None:
        select.select([], [], [], TICK / 10)
    return code


def write(data: bytes) -> None:
    """Write to stderr."""
    view = memoryview(data)
    while view:
        view = view[os.write(2, view) :]


def main() -> int:
    """Run the program of the command line; return its exit code."""
    loop, jobs, source, path, target, count, *rest = map(os.fsencode, sys.argv[1:])
    words, program = rest[: int(count)], rest[int(count) :]
    keys, mark = list_keys(source), b"fanrun-each-" + os.urandom(16).hex().encode()
    make_folders(os.path.join(target, b"data"), keys)
    with open(path, "wb") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(script(loop, mark, words, keys))
    ends = Ends(os.path.join(target, b"report.jsonl"), mark + b" ", keys, alone=jobs == b"1")
    code = run(program, ends)
    if os.path.exists(os.path.join(target, b"late")):  # batch.sh says so
        ends.stop()
    os.unlink(path)
    return code


if __name__ == "__main__":
    sys.exit(main())
