"""Where Fanrun's files are on a host, and how its Docker is called."""

from __future__ import annotations

from dataclasses import dataclass

from fanrun.fleet.probe import WORK


@dataclass(frozen=True)
class Layout:
    """The folders of Fanrun on a host: `work` for all that a fleet needs, `logs` with a log for each run.

    `docker_by_sudo` is whether Docker is called by sudo; if not, the login may use it.
    """

    work: str = WORK
    logs: str = "/var/log/fanrun"
    docker_by_sudo: bool = True

    @property
    def mark(self) -> str:
        """The file that says whose the host is, and by which version of Fanrun it was set up."""
        return f"{self.work}/fleet"

    @property
    def runs(self) -> str:
        """The folder with a folder for each run."""
        return f"{self.work}/runs"

    @property
    def cache(self) -> str:
        """The folder with inputs of earlier runs, for later ones."""
        return f"{self.work}/cache"

    @property
    def prefix(self) -> list[str]:
        """The words before a command that uses Docker."""
        return ["sudo", "-n"] if self.docker_by_sudo else []


USUAL = Layout()
"""The layout of a host whose login may use sudo without a password."""
