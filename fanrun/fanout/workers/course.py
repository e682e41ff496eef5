"""The course of a run's work: to its end, or to where a person or a condition ends it."""

from __future__ import annotations

from collections.abc import Mapping

from loguru import logger

from fanrun.fanout.halt import Halted
from fanrun.fanout.workers.supervisor import Supervisor
from fanrun.fleet.errors import RunUnfinished
from fanrun.fleet.probe import Probe


def work(supervisor: Supervisor, probes: Mapping[str, Probe]) -> str:
    """Work until all inputs are settled or no worker is left; return why it ended early, "" if it didn't."""
    try:
        supervisor.work(probes)
    except Halted as halted:
        logger.warning("{}; {}", halted, "what runs is ended" if halted.now else "what runs is finished")
        return _wind_down(supervisor, str(halted), now=halted.now)
    except RunUnfinished as error:
        return str(error)
    except KeyboardInterrupt:
        return _interrupted(supervisor)
    return ""


def _interrupted(supervisor: Supervisor) -> str:
    logger.warning("interrupted: what is done is brought home; Ctrl-C again stops at once")
    return _wind_down(supervisor, "interrupted", now=True)


def _wind_down(supervisor: Supervisor, why: str, *, now: bool) -> str:
    """Start nothing more, and bring home what is done; return why the work ended."""
    try:
        supervisor.wind_down(now=now)
    except KeyboardInterrupt:
        if not now:
            return _interrupted(supervisor)
        logger.warning("stopped at once")
        return "interrupted"
    return why
