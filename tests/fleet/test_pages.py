"""Every command of the documentation is run as it stands there, or the table below says why not."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import pytest

from tests.fleet.reader import Reader, reader
from tests.unit.pages import ROOT, files, pages, read, scripts
from tests.variants import some

CLUSTER = "needs a Kubernetes cluster"
VECTOR = "needs Vector; tests/fleet/test_vector.py does it with a package"
EC2 = "tests/ec2 does it with an emulator of Amazon's API"
NOT_RUN = {
    "script/setup": "is done before a test",
    ". .venv/bin/activate": "is done before a test",
    "script/test": "runs this test",
    "fab down": "the pages share a fleet, which is ended after the last",
    "fab up --provider=ec2": EC2,
    "fab bake": EC2,
    "aws ec2": "needs an account of Amazon",
    "fab up --provider=static": "tests/fleet/test_static.py does it with addresses of its own",
    "docker build --tag fanrun/process": "tests/fleet/test_service_image.py builds it, with our certificates",
    "docker build --file service/Dockerfile": "as the one before",
    "docker push": "needs a registry that a cluster can reach",
    "docker run --rm": "has placeholders; tests/unit/test_commands.py compares the command itself",
    "kubectl --namespace": CLUSTER,
    "kubectl apply": CLUSTER,
    "kubectl cp": CLUSTER,
    "kubectl delete": CLUSTER,
    "kubectl wait": CLUSTER,
    ".venv/bin/python service/loadtest/client.py": CLUSTER,
    ".venv/bin/python -m service.loadtest.load": CLUSTER,
    "python -m service.loadtest.load": "takes ten minutes; tests/service has shorter runs",
    "ssh -F .fanrun/default/ssh_config -N": "ends when the reader ends it",
    "ssh -F .fanrun/default/ssh_config hub": VECTOR,
    "fab up --vector": VECTOR,
    "FANRUN_LOGS=required": VECTOR,
}
"""How commands begin that are not run here, and why."""
ELSEWHERE = ROOT / "docs" / "your-program.md"
"""A page whose commands tests/fleet/test_your_program.py runs, as they need an image of their own."""
PAGES = {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in pages() if path != ELSEWHERE}
COMMANDS = [command for text in PAGES.values() for script in scripts(text) for command in script]


def is_run(command: str) -> bool:
    return not command.startswith(tuple(NOT_RUN))


SLOW = ("docs/logs.md", "docs/process.md", "docs/service.md")
"""Pages whose commands take long."""
RUN = [page for page, text in PAGES.items() if any(is_run(each) for script in scripts(text) for each in script)]


@pytest.fixture(scope="module")
def ana(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """A reader who has a fleet, some inputs, and a run of them."""
    with reader(tmp_path_factory.mktemp("pages"), "pages") as made:
        for name, content in files(read("README.md")):
            made.write(name, content)
        command = "fab sample --dst ./dataset; fab up --hosts=2; fab run --src ./dataset --dst ./output"
        done = made.type(f"{command}; docker build --tag checksum ./checksum")
        assert done.returncode == 0, done.stdout + done.stderr
        yield made


def names(ana: Reader) -> dict[str, str]:
    """Return what stands in pages for a name that the reader has to put in: {on the page: the reader's}."""
    inputs = sorted(path.name for path in (ana.checkout / "dataset").iterdir())
    runs = sorted(path.name for path in (ana.checkout / "output/.fanrun/runs").iterdir())
    return {
        "INPUT": "./dataset",
        "OUTPUT": "./processed",
        "cat/1.jpg": shlex.quote(inputs[0]),
        "20260131-120000-1a2b": runs[-1],
    }


@pytest.mark.parametrize("page", some(RUN, *(page for page in RUN if page not in SLOW)))
def test_the_commands_of_a_page_work(ana: Reader, page: str) -> None:
    ana.type("fab run --src ./dataset --dst ./output --force")  # pages tell of a run that did something
    for commands in scripts(PAGES[page]):
        script = "\n".join(command for command in commands if is_run(command))
        for placeholder, name in names(ana).items():
            script = script.replace(placeholder, name)
        done = ana.type(script)
        assert done.returncode == 0, (script, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("beginning", NOT_RUN)
def test_what_is_not_run_is_on_a_page(beginning: str) -> None:
    assert [command for command in COMMANDS if command.startswith(beginning)]


def test_most_pages_are_run() -> None:
    assert {"README.md", "docs/process.md", "docs/programs.md", "docs/service.md", "docs/logs.md"} <= set(RUN)
