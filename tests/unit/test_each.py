"""How a command for each input is written, and what can't be meant."""

from __future__ import annotations

import pytest

from fanrun.fanout import each
from fanrun.fleet.errors import UsageError


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ffmpeg -i {in} {out}.mp4", ["ffmpeg", "-i", "{in}", "{out}.mp4"]),
        ("  tesseract '{in}' \"{out}\"\n-l deu ", ["tesseract", "{in}", "{out}", "-l", "deu"]),
        ("x --in={in} --title '{stem} in {folder}: {name}' -o {out}", None),
        ("x {in} --outdir /out/{folder}", ["x", "{in}", "--outdir", "/out/{folder}"]),
        ("awk '{{ print $1 | \"sort\" }}' {in} {out}", ["awk", '{{ print $1 | "sort" }}', "{in}", "{out}"]),
        ("""sh -c 'cd "$1" && x <"$2" >"$3"' sh /tmp {in} {out}""", None),
        (r"find {in} -exec cp \{{\}} {out} \;", ["find", "{in}", "-exec", "cp", "{{}}", "{out}", ";"]),
        ("x {in} {out} 100$", ["x", "{in}", "{out}", "100$"]),
        ("env LANG=C x {in} {out}", ["env", "LANG=C", "x", "{in}", "{out}"]),
        ("x {in} {out}/{{in}}", ["x", "{in}", "{out}/{{in}}"]),
    ],
)
def test_a_command_is_split_as_by_a_shell(text: str, words: list[str] | None) -> None:
    found = each.parse(text)
    assert found == tuple(words) if words is not None else len(found) > 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x {in} {out} 'y", "No closing quotation; write it as 'ffmpeg -i {in} {out}.mp4'"),
        ("", "it names no program"),
        ("'' {in} {out}", "it names no program"),
        ("-i {in} {out}", "it names no program"),
        ("LANG=C x {in} {out}", "it begins with a variable; set it by env: 'env LANG=C …'"),
        ("x {out}.mp4", "{in} is missing"),
        ("x {{in}} {out}.mp4", "{in} is missing"),
        ("x {in}", "{out} is missing"),
        ("x {in} {{out}}", "{out} is missing"),
        (
            "x {in} {out}.{ext}",
            "there is no {ext}; there are {in}, {out}, {stem}, {name}, {folder}; braces are {{ and }}",
        ),
        ("x {in} {}", "there is no {}; there are"),
        ("x {in} {out", "a { stands alone; braces are {{ and }}"),
        ("x {in} out}", "a } stands alone"),
        ("x {in} {out!r}", "a { stands alone"),
        ("x {in} {Out}", "there is no {Out}"),
        ("x {in} > {out}.txt", "no shell runs it, so > can't be used; a shell gets names as arguments: sh -c '"),
        ("x {in} | y {out}", "no shell runs it, so | can't be used"),
        ("x {in} {out} && y", "no shell runs it, so & can't be used"),
        ("x {in} 2>/dev/null {out}", "no shell runs it, so > can't be used"),
        ("x {in} $HOME/{out}", "no shell runs it, so $ can't be used"),
        ("x {in} `date` {out}", "no shell runs it, so ` can't be used"),
        ("sh -c 'x {in} >{out}'", "names in the text of a shell would be run by it; a shell gets names as arguments"),
        ("nice /bin/bash -ec 'x {name}' sh {in} {out}", "names in the text of a shell would be run by it"),
    ],
)
def test_a_command_that_can_not_be_meant(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        each.parse(text)
    assert str(caught.value).startswith(f"--each {text!r}: {words}")
    assert "\n" not in str(caught.value)


def test_bytes_that_are_not_utf_8_stay_as_they_are() -> None:
    assert each.parse("x-\udcff {in} {out}.\udcfe") == ("x-\udcff", "{in}", "{out}.\udcfe")


def test_argv() -> None:
    argv = each.argv(("x", "{in}", "{out}"), "/runs/b.in", "/runs/b.out")
    assert argv[:4] == ["python3", "-I", "-S", "-c"]
    assert argv[4:] == [
        each.PROGRAM,
        each.LOOP,
        "1",
        "/runs/b.in",
        "/runs/b.in.each.sh",
        "/runs/b.out",
        "3",
        "x",
        "{in}",
        "{out}",
    ]
