"""Child processes that process files, one at a time each."""

from __future__ import annotations

import signal
import sys
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any

from imaging.files import Job, Result, Task, discard, process_file

if TYPE_CHECKING:  # multiprocessing is imported where it is needed: most batches of one file start no child
    from collections.abc import Generator, Iterator, Sized
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess


def serve(pipe: Connection, parent_end: Connection, job: Job) -> None:
    """Run as a child: answer tasks with results until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the children too, but the parent decides
    parent_end.close()  # a pipe ends when the last copy of its other end is closed
    with suppress(EOFError, OSError):
        while True:
            pipe.send(process_file(pipe.recv(), job))


def start_child(job: Job) -> tuple[BaseProcess, Connection]:
    """Start a child; returns it and our end of its pipe, raises OSError where a limit forbids."""
    from multiprocessing import get_context

    context = get_context("fork") if sys.platform == "linux" else get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=serve, args=(theirs, ours, job), daemon=True)
    child.start()
    theirs.close()
    return child, ours


def end_child(child: BaseProcess, task: Task) -> Result:
    """End a child, dead or alive; returns the result of the task it had, a failure."""
    child.kill()
    child.join()
    discard(task.partial)
    how = f"signal {-code}" if (code := child.exitcode or 0) < 0 else f"exit code {code}"
    return Result(task.key, f"the process that worked on it died ({how})", 0.0)


class Pool:
    """Up to `size` children, each with one task at a time; a task that kills its child fails alone."""

    def __init__(self, job: Job, size: int, stopped: Sized) -> None:
        """Make a pool without children; it takes no more tasks once `stopped` holds anything."""
        from multiprocessing.connection import wait  # now: later there may be no files left to open

        self.job, self.size, self.stopped, self.wait = job, size, stopped, wait
        self.idle: list[tuple[BaseProcess, Connection]] = []
        self.busy: dict[Any, tuple[BaseProcess, Connection, Task]] = {}

    def run(self, tasks: Iterator[Task]) -> Generator[Result, None, None]:
        """Yield the results of tasks as they come; end all children in the end."""
        try:
            while not self.stopped:
                for task in islice(tasks, self.size - len(self.busy)):
                    if not self.assign(task):
                        yield process_file(task, self.job)
                        break
                else:
                    if not self.busy:
                        return
                yield from self.receive()
        finally:
            self.end()

    def assign(self, task: Task) -> bool:
        """Give a task to an idle or a new child; returns whether there was one.

        There is none where processes are limited, or where an idle child was killed.
        """
        try:
            child, pipe = self.idle.pop() if self.idle else start_child(self.job)
            pipe.send(task)
        except OSError:
            return False
        self.busy[pipe] = child, pipe, task
        return True

    def receive(self) -> Iterator[Result]:
        """Yield the results that are there within 0.1 s."""
        for ready in self.wait(list(self.busy), 0.1):
            child, pipe, task = self.busy[ready]
            try:
                result = pipe.recv()
                self.idle.append((child, pipe))
            except (EOFError, OSError):
                result = end_child(child, task)
                discard(task.target)
            del self.busy[ready]
            yield result

    def end(self) -> None:
        """End all children; what they work on gets no result."""
        for child, _ in self.idle:
            child.kill()
        for child, _, task in self.busy.values():
            end_child(child, task)
