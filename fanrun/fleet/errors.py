"""Every error that Fanrun raises on purpose, in one tree.

::

    FanrunError
    ├── UsageError             flags, settings or paths that can't be meant
    │   └── ToolMissing        a program that this machine lacks, or that doesn't run
    ├── Busy                   a lock that another process holds: `holder`
    ├── FleetError             a fleet that isn't there, is busy, or is another version's
    │   └── FleetDamaged       a fleet.json that can't be read
    ├── ProviderError          the provider could not launch, find or terminate
    ├── ImageError             an image that can't be built, found, pushed or pulled
    ├── HostError              one host: carries `host`, its name
    │   ├── HostUnreachable    no SSH session could be had
    │   └── CommandFailed      a command ended non-zero: `command`, `exit_code`, `stderr`
    ├── HostsFailed            a fan-out: carries `errors`, one for each host that failed
    └── RunUnfinished          a run that began and could not end

A message says what is wrong and ends with the next step; it is one line, fit to be
shown to a person as it stands.  Other libraries' exceptions stop where they are
called, and become one of these by ``raise … from``.
"""

from __future__ import annotations

from collections.abc import Mapping


class FanrunError(Exception):
    """The root: anything that Fanrun tells a person instead of a traceback."""


class UsageError(FanrunError):
    """What was asked for can't be meant: a flag, a setting, a path."""


class ToolMissing(UsageError):
    """A program that this machine needs is absent or not running."""

    def __init__(self, message: str, *, tool: str) -> None:
        super().__init__(message)
        self.tool = tool


class Busy(FanrunError):
    """Another process holds the lock."""

    def __init__(self, message: str, *, holder: str) -> None:
        super().__init__(message)
        self.holder = holder


class FleetError(FanrunError):
    """The fleet named does not exist, is in use, or can't be read."""

    def __init__(self, message: str, *, fleet: str) -> None:
        super().__init__(message)
        self.fleet = fleet


class FleetDamaged(FleetError):
    """What the client knows of the fleet can't be read."""


class ProviderError(FanrunError):
    """The provider refused or failed to launch, find or terminate hosts."""

    def __init__(self, message: str, *, provider: str) -> None:
        super().__init__(message)
        self.provider = provider


class ImageError(FanrunError):
    """An image could not be built, found, pushed or pulled."""

    def __init__(self, message: str, *, image: str) -> None:
        super().__init__(message)
        self.image = image


class HostError(FanrunError):
    """Something failed on, or on the way to, one host."""

    def __init__(self, message: str, *, host: str) -> None:
        super().__init__(message)
        self.host = host


class HostUnreachable(HostError):
    """No SSH session to the host could be had."""


class CommandFailed(HostError):
    """A command on a host ended with a code other than 0."""

    def __init__(self, message: str, *, host: str, command: str, exit_code: int, stderr: str) -> None:
        super().__init__(message, host=host)
        self.command = command
        self.exit_code = exit_code
        self.stderr = stderr


class HostsFailed(FanrunError):
    """Some hosts of a fan-out failed; the others were waited for and are done."""

    def __init__(self, errors: Mapping[str, FanrunError]) -> None:
        self.errors = dict(errors)
        super().__init__("; ".join(f"{name}: {error}" for name, error in sorted(self.errors.items())))


class RunUnfinished(FanrunError):
    """A run that began could not end: hosts were lost, or it was interrupted."""
