"""The task serve."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from fanrun.fleet import config, values
from fanrun.fleet.errors import UsageError
from fanrun.fleet.places import SOURCES
from fanrun.fleet.store import Folder
from fanrun.fleet.text import counted
from fanrun.tasks import options, target
from fanrun.tasks.console import GREEN, Console
from fanrun.tasks.options import ASK_SUDO, FLEET
from fanrun.tasks.task import task
from provision import keepalive

if TYPE_CHECKING:
    from fanrun.serving.containers import Container


@task(
    help={
        "replicas": "how many processors, dealt to the workers; 0 ends the service",
        "args": "flags for the API, in one string: --size, --margin, --how, --grayscale, … (default: as the last time)",
        "tokens": "a file of bearer tokens that callers need, a line each: NAME TOKEN (default: as the last time)",
        "ask-sudo-password": ASK_SUDO,
        "fleet": FLEET,
    }
)
def serve(
    console: Console,
    replicas: str | None = None,
    args: str | None = None,
    tokens: str | None = None,
    ask_sudo_password: bool = False,
    fleet: str | None = None,
) -> None:
    """Run the image program as a gRPC service: processors on the workers, the API on the hub.

    The same command with another number changes it while requests flow.
    """
    # Here, as at the head of the file they would cost every task time.
    from fanrun.serving import service as services
    from fanrun.serving.files import ApiChanges

    if replicas is None:
        raise UsageError("fab serve needs --replicas; `fab --help serve` shows all it takes")
    number = values.whole_number("replicas", replicas, 0, config.MAX_HOSTS)
    folder = target.with_sudo(console, target.folder(console, fleet), is_asked=ask_sudo_password)
    board = console.board()
    with contextlib.closing(board):
        if number == 0:
            services.end(folder, board.say)
            console.say("the service has ended")
            return
        changes = ApiChanges(None if args is None else options.words(args), options.text("tokens", tokens))
        with keepalive.keep(folder, target.provider(console, fleet), folder.load().hosts):
            running = services.serve(folder, SOURCES, number, changes, board.say)
    _tell(console, folder, running[0], number)


def _tell(console: Console, folder: Folder, api: Container, processors: int) -> None:
    """Say where the API is, and how to call it."""
    from fanrun.serving.client import how_to_call

    address = f"{api.host.inner}:{api.port}"
    console.say(f"{console.paint('serving:', GREEN)} {counted(processors, 'processor')}, the API at {address}")
    console.say("\n".join(how_to_call(folder, SOURCES, api, os.environ)))
