"""The examples of docs/your-program.md: each command is run as it stands there, with Debian's ffmpeg and tesseract."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator

import pytest
from PIL import Image, ImageDraw, ImageFont

from tests.fleet.harness import tree
from tests.fleet.reader import Reader, reader
from tests.unit.pages import files, read, scripts

pytestmark = pytest.mark.long

PAGE = read("docs/your-program.md")
CLIPS = (b"one.gif", b"a/it's two.gif", b"a/-three.gif", b"new\nline.gif", b"latin-\xe9.gif", b'$(touch x) "q".gif')
COMMANDS = {command for commands in scripts(PAGE) for command in commands}


@pytest.fixture(scope="module")
def bea(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """A reader who has a fleet, the files of the page, clips, and a page of text as an image."""
    with reader(tmp_path_factory.mktemp("program"), "program", "media", "lines", "pairs") as made:
        for name, content in files(PAGE):
            made.write(name, content)
        for count, key in enumerate(CLIPS):
            write_clip(os.path.join(os.fsencode(made.checkout), b"clips", key), count)
        for name, count in (("x", 1), ("y", 3)):
            for half in (1, 2):
                made.write(f"reads/{name}_R{half}.fastq", "@read\nACGT\n+\nIIII\n" * count)
        (made.checkout / "scans").mkdir()
        scan = Image.new("L", (640, 120), 255)
        ImageDraw.Draw(scan).text((20, 30), "Albuca 1804", fill=0, font=ImageFont.load_default(56))
        scan.save(made.checkout / "scans" / "plate 1.png")
        done = made.type("fab up --hosts=1")
        assert done.returncode == 0, done.stderr
        yield made


def write_clip(path: bytes, count: int) -> None:
    """Write an animation of some frames."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    frames = [Image.new("RGB", (64, 48), (60 * frame, 30 * count, 90)) for frame in range(4)]
    with open(path, "wb") as file:
        frames[0].save(file, "gif", save_all=True, append_images=frames[1:], duration=100)


def command(beginning: str) -> str:
    """Return the one command of the page that begins so."""
    (found,) = (each for each in COMMANDS if each.startswith(beginning))
    return found


def results(bea: Reader, folder: str) -> dict[bytes, bytes]:
    return tree(bea.checkout / folder)


def renamed(ending: bytes) -> set[bytes]:
    """Return the paths of the clips with another ending."""
    return {os.path.splitext(key)[0] + ending for key in CLIPS}


def test_the_commands_of_the_page_work(bea: Reader) -> None:
    for script in scripts(PAGE):
        done = bea.type("\n".join(script))
        assert done.returncode == 0, (script, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
    films = results(bea, "films")
    assert set(films) == renamed(b".mp4")
    assert all(content[4:8] == b"ftyp" for content in films.values())
    assert set(results(bea, "sizes")) == renamed(b".txt")
    assert results(bea, "counts") == {b"x.reads": b"1 1\n", b"y.reads": b"3 3\n"}
    assert results(bea, "texts") == {b"plate 1.txt": b"Albuca 1804\n"}
    assert set(results(bea, "counted")) == renamed(b".gif.lines")
    assert [line.split()[0] for line in results(bea, "counted").values()] == [
        line.split()[0] for line in results(bea, "counted-again").values()
    ]


def test_a_bad_input_fails_as_the_page_says(bea: Reader) -> None:
    bea.write("clips/notes.txt", "no clip\n")
    try:
        done = bea.type(command("fab run --image media --each 'ffmpeg"))
    finally:
        (bea.checkout / "clips/notes.txt").unlink()
    assert done.returncode == 1
    (shown,) = re.findall(r"WARNING: worker-1: notes.txt: .*", PAGE)
    assert shown in done.stderr.splitlines()
    assert set(results(bea, "films")) == renamed(b".mp4")


def test_the_table_of_what_a_program_sees_is_true(bea: Reader) -> None:
    script = """{
      df -k /tmp /dev/shm | tail -n 2 | while read -r _ size _; do echo $((size / 1024)); done
      echo "$HOME $LANG $USER $FANRUN_REPORT $(ls /sys/class/net) $(cat | wc -c)"
      touch /x /in/x; echo $?
    } >"$2/plate 1.txt" 2>/dev/null"""
    arguments = shlex.quote(f"-c {shlex.quote(script)} sh")
    done = bea.type(f"fab run --image media --entrypoint sh --args {arguments} --src ./scans --dst ./seen")
    assert done.returncode == 0, done.stderr
    tmp, shm, variables, touched = results(bea, "seen")[b"plate 1.txt"].decode().splitlines()
    assert (tmp, shm, touched) == ("256", "64", "1")
    assert variables == "/tmp C.UTF-8 fanrun /report.jsonl lo 0"
