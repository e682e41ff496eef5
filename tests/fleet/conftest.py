"""A real fleet for the tests: containers with sshd and dockerd, made by `fab up` itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet.harness import Fab, Runs, docker
from tests.fleet.machines import Machines, machines
from tests.fleet.small_image import small_image

# A program of the contract, told by its first argument how to behave.  It knows nothing of
# FANRUN_REPORT, but for "report".
PROGRAM = r"""#!/bin/sh
how=$1; shift
case $how in
  copy) cp -R "$1/." "$2" ;;
  slow) seconds=$1; shift; sleep "$seconds"; cp -R "$1/." "$2" ;;
  dies) # at the first input whose name has "bad" in it, before it does anything else after that
    cd "$1" && find . -type f | sort | while read -r file; do
      case $file in *bad*) echo "can't stand $file" >&2; echo half >"$2/$file"; exit 3 ;; esac
      mkdir -p "$2/$(dirname "$file")" && cp "$file" "$2/$file" || exit 4
    done ;;
  rename) cd "$1" && for file in *; do cp "$file" "$2/${file%.*}.png"; cp "$file" "$2/${file%.*}_small.png"; done ;;
  forgets) exit 0 ;;
  report) cd "$1" && for file in *; do
      echo "{\"path\": \"$file\", \"ok\": false, \"error\": \"not today\"}" >>"$FANRUN_REPORT"; done; exit 1 ;;
  each) # one after the other, and tells of each; ends at once when it is asked to
    seconds=$1; shift; trap 'exit 143' TERM
    cd "$1" && for file in *; do
      sleep "$seconds" & wait $!
      cp "$file" "$2/.part" && mv "$2/.part" "$2/$file" || exit 4
      echo "{\"path\": \"$file\", \"ok\": true, \"seconds\": $seconds}" >>"$FANRUN_REPORT"
    done ;;
  poison) # each, but for inputs whose names say otherwise; tells of each if $1 is "tells"
    tells=$1; seconds=$2; shift 2; trap 'exit 143' TERM
    cd "$1" && for file in *; do
      sleep "$seconds" & wait $!
      case $file in
        *exits*) echo "can't stand $file" >&2; exit 3 ;;
        *daemon*) exit 125 ;;
        *hangs*) sleep 1000 & wait $! ;;
        *eats*) tail /dev/zero || exit $? ;;
        *nothing*) continue ;;
      esac
      cp "$file" "$2/.part" && mv "$2/.part" "$2/$file" || exit 4
      [ "$tells" != tells ] || echo "{\"path\": \"$file\", \"ok\": true}" >>"$FANRUN_REPORT"
    done ;;
  hangs) cd "$1" && for file in *; do
      case $file in *bad*) echo "thinking about $file"; sleep 1000 ;; esac
      cp "$file" "$2"
    done ;;
  eats) cd "$1" && for file in *; do case $file in *bad*) tail /dev/zero || exit $? ;; esac; cp "$file" "$2"; done ;;
  picky) # can't stand bad files where /out is small
    set -- "$1" "$2" $(df -Pk "$2" | tail -n 1)
    cd "$1" && for file in *; do
      case $file in *bad*) [ "$4" -gt 1000000 ] || { echo "no room for $file"
        echo "{\"path\": \"$file\", \"ok\": false, \"error\": \"too small\"}" >>"$FANRUN_REPORT"; continue; } ;; esac
      cp "$file" "$2"; echo "{\"path\": \"$file\", \"ok\": true}" >>"$FANRUN_REPORT"
    done ;;
  looks) cd / && { id -u; touch /etc/x 2>&1; touch "$1/x" 2>&1; ls /sys/class/net; grep CapEff /proc/self/status
      grep NoNewPrivs /proc/self/status; } >"$2/$(cd "$1" && ls | head -n 1)" ;;
esac
"""
DOCKERFILE = """FROM {}
COPY program /program
ENTRYPOINT ["/program"]
"""


@pytest.fixture(scope="session")
def fab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fab]:
    """A fleet of two workers, for tests that leave it as they found it."""
    # The name is this process's: `fab up` refuses beside what a run that was killed has left under its name.
    fab = Fab(tmp_path_factory.mktemp("home"), f"tests-{os.getpid()}")
    try:
        fab("up", "--hosts=2")
        yield fab
    finally:
        fab("down")


@pytest.fixture(scope="session")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """Machines for tests that leave them as they found them; the third is run by systemd, as most people's are."""
    home, network = tmp_path_factory.mktemp("owner"), f"fanrun-machines-{os.getpid()}"
    with machines(home, network, "one", "two", "three", systemd=["three"]) as found:
        yield found


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The image of PROGRAM."""
    context = tmp_path_factory.mktemp("program")
    (context / "program").write_text(PROGRAM)
    (context / "program").chmod(0o755)
    (context / "Dockerfile").write_text(DOCKERFILE.format(small_image()))
    name = f"fanrun-test-program-{os.getpid()}"  # another run of the tests on this machine keeps its own
    docker("build", "--quiet", f"--tag={name}", str(context))
    yield name
    docker("rmi", "--force", name)


@pytest.fixture(scope="session")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An image that runs its argument, with /in and /out as $0 and $1."""
    context = tmp_path_factory.mktemp("shell")
    (context / "Dockerfile").write_text(f'FROM {small_image()}\nENTRYPOINT ["/bin/sh", "-c"]\n')
    name = f"fanrun-test-shell-{os.getpid()}"
    docker("build", "--quiet", f"--tag={name}", str(context))
    yield name
    docker("rmi", "--force", name)


@pytest.fixture
def runs(fab: Fab, shell: str, tmp_path: Path) -> Runs:
    """Runs of the image `shell`."""
    return Runs(fab, shell, tmp_path)
