"""What pages link to is there, what they tell people to type is understood, and the README stays short."""

from __future__ import annotations

from pathlib import Path

import pytest
from fabric.main import program
from invoke.exceptions import ParseError
from invoke.parser import Parser

from fanrun.tasks import core
from tests.unit.pages import ROOT, TASKS, anchors, fab_commands, links, pages, read

PAGES = [str(path.relative_to(ROOT)) for path in pages()]
COMMANDS = [(page, arguments) for page in PAGES for arguments in fab_commands(read(page))]


def problem(page: str, link: str) -> str:
    """Return what is wrong with a link of a page, "" if it leads somewhere."""
    name, _, anchor = link.partition("#")
    target = ((ROOT / page).parent / name).resolve() if name else ROOT / page
    if not target.is_relative_to(ROOT) or not target.exists():
        return f"{link}: there is no such file"
    if anchor and anchor not in anchors(target.read_text("utf-8")):
        return f"{link}: there is no such heading"
    return ""


def refusal(arguments: list[str]) -> str:
    """Return why `fab` would not take these arguments, "" if it takes them."""
    try:
        tasks = Parser(contexts=TASKS, initial=program.initial_context).parse_argv(arguments)
    except ParseError as error:
        return str(error)
    given = [argument.name for argument in tasks[0].args.values() if argument.got_value]
    if not tasks[1:]:
        return "" if {"help", "list", "version"} & set(given) else "no task"
    return "" if "help" in given else core.refusal(str(tasks[1].name), (), core.CommandLine(flags=tuple(given)))


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_and_headings(page: str) -> None:
    assert [found for link in links(read(page)) if (found := problem(page, link))] == []


@pytest.mark.parametrize(("page", "arguments"), COMMANDS, ids=[f"{page}: {' '.join(each)}" for page, each in COMMANDS])
def test_commands_in_blocks_of_code_are_understood(page: str, arguments: list[str]) -> None:
    assert refusal(arguments) == "", page


def test_commands_are_found_in_the_pages() -> None:
    assert {"README.md", "docs/tutorial.md", "docs/programs.md", "docs/service.md"} <= {page for page, _ in COMMANDS}
    assert ["up", "--hosts=2"] in [arguments for page, arguments in COMMANDS if page == "docs/tutorial.md"]


@pytest.mark.parametrize("line", ["up --host=2 --nodes=3", "start", "run --src", "run dataset", "", "--dry up"])
def test_a_wrong_command_would_be_noticed(line: str) -> None:
    assert refusal(line.split()) != ""


@pytest.mark.parametrize("link", ["docs/nothing.md", "#nothing", "docs/programs.md#nothing", "../../etc/passwd"])
def test_a_wrong_link_would_be_noticed(link: str) -> None:
    assert problem("README.md", link) != ""


def test_anchors_are_those_of_github() -> None:
    text = "# Runs, by `fab run`\n## A [link](x.md) & more\n## Twice\n## Twice\n```\n# no heading\n```\n<a id='x'>"
    assert anchors(text) == {"runs-by-fab-run", "a-link--more", "twice", "twice-1"}


def test_the_readme_is_a_page_that_leads_to_all_others() -> None:
    assert len(read("README.md").splitlines()) <= 150
    there = {Path(link.partition("#")[0]) for link in links(read("README.md"))}
    assert {Path(page) for page in PAGES if page.startswith("docs/")} - there == set()
