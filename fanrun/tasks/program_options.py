"""The options of `fab run` that say what is run."""

from __future__ import annotations

from dataclasses import dataclass

from fanrun.fanout import each as commands_of_inputs
from fanrun.fanout.request import RunRequest
from fanrun.fleet.errors import UsageError
from fanrun.tasks import options
from provision import deployment


@dataclass(frozen=True)
class ProgramOptions:
    """The container image (None: Fanrun's own), what is started in it, and what is known of its results.

    Raises UsageError for options that can't be meant together.
    """

    image: str | None
    args: str = ""
    entrypoint: str | None = None
    each: str | None = None
    expect: str | None = None
    ignore_results: str | None = None
    by_content: bool = False

    def __post_init__(self) -> None:
        if self.each is None:
            if self.entrypoint == "" and not self.args:
                raise UsageError("--entrypoint '' leaves no program to start; name it in --args")
            return
        flags = {"args": self.args or None, "entrypoint": self.entrypoint}
        options.refuse(flags, "--each has the program and its arguments")
        if self.image is None:
            raise UsageError("--each needs --image: Fanrun's own container image has no shell and no other program")

    @property
    def name(self) -> str:
        """The name of the container image."""
        return self.image or deployment.OWN

    @property
    def command(self) -> tuple[str, ...]:
        """The words of the command that is run for each input; none if the program takes whole batches."""
        return () if self.each is None else commands_of_inputs.parse(self.each)


def check_image(name: str, request: RunRequest) -> None:
    """Raise UsageError for a container image that can't start what is asked for."""
    if request.docker.platform:
        deployment.check_platform(name, request.docker.platform)
    if request.each:
        deployment.check_shell(name)
    elif name != deployment.OWN and not request.args and request.entrypoint is None:
        deployment.check_command(name)
