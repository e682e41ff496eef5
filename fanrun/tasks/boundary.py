"""The boundary: an error becomes one line and an exit code, and no traceback reaches a person."""

from __future__ import annotations

import contextlib
import io
import json
import os
import platform
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import NoReturn

from fanrun.fleet import places
from fanrun.fleet.exit_codes import ExitCode, explain
from fanrun.tasks import core
from fanrun.tasks.console import Console, one_line

SUFFIXES = ("yaml", "yml", "json", "py")
SETTINGS = tuple(
    Path(f"{place}fabric.{suffix}")
    for place in (f"{places.settings_folder(os.environ)}/", "~/.", "/etc/")
    for suffix in SUFFIXES
)
"""Where Fabric looks for its settings: the project's, the person's, the machine's."""
OWN = ("fabfile.py", "fanrun", "provision", "service")
"""Files and folders with code of ours."""
SSH_CONFIGS = (Path("~/.ssh/config"), Path("/etc/ssh/ssh_config"))


@contextlib.contextmanager
def exit_codes(console: Console, code: int) -> Iterator[None]:
    """Turn errors into one line and an exit code.

    2 is for usage, 3 for an unfinished run, 70 for what nobody expected, `code` for every other error of ours.
    """
    for each in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(each) != signal.SIG_IGN:  # as under nohup
            signal.signal(each, signal.default_int_handler)
    try:
        yield
        sys.stdout.flush()
    except SystemExit:
        _drop_full_output()
        raise
    except KeyboardInterrupt:
        _fail(console, "interrupted", ExitCode.INTERRUPTED)
    except BrokenPipeError:
        _drop_output()
        raise SystemExit(ExitCode.READER_GONE) from None
    except Exception as error:
        text, number = explain(error, console.home, code)
        _fail(console, text or unexpected(error), number)


def unexpected(error: BaseException) -> str:
    """Keep the traceback of an error in a log file; return the line that names both."""
    said = one_line(f"{type(error).__name__}: {error}")
    python = f"Python {platform.python_version()}, {platform.platform()}"
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    try:
        handle, path = tempfile.mkstemp(prefix="fanrun-", suffix=".log")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{python}\n{text}")
    except OSError as problem:
        return f"unexpected {said}; its traceback could not be kept ({problem.strerror})"
    return f"unexpected {said}; this is a fault of Fanrun's: please report it with {path}, which has the traceback"


def install() -> None:
    """Tell errors outside of tasks in one line as well: in fabric.yaml, in Fabric itself, in threads."""
    _open_streams()
    _use_utf8()
    for stream in (sys.stdout, sys.stderr):
        # A file's name may have bytes, or letters, that the terminal's encoding lacks.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.excepthook = _tell
    threading.excepthook = _tell_thread


def _open_streams() -> None:
    """Open what the shell has closed, so that no file of ours gets its number, to which programs started here write."""
    for usual, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            number = opened = os.open(os.devnull, os.O_RDWR)
            if opened != usual and not _is_open(usual):
                os.dup2(opened, usual)
                os.close(opened)
                number = usual
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _use_utf8() -> None:
    """Start anew in Python's UTF-8 mode where files' names and texts would be read in another encoding.

    What is printed stays in the terminal's.
    """
    if sys.getfilesystemencoding() == "utf-8" or os.environ.get("PYTHONUTF8") == "1":
        return
    os.environ.update({"PYTHONUTF8": "1", "PYTHONIOENCODING": f"{sys.stdout.encoding}:backslashreplace"})
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - no shell is meant


def outside(error: BaseException, line: core.CommandLine, files: Sequence[Path]) -> str:
    """Return what to say of an error outside of tasks, "" of one that nobody expected; `files` hold settings."""
    if isinstance(error, ModuleNotFoundError) and str(error.name).partition(".")[0] not in OWN:
        return f"Python's package {error.name} is not installed here; script/setup installs it, use .venv/bin/fab"
    if why := core.refusal(line.task, (), line) if line.task else "":
        return why
    if why := next((why for path in files if (why := unreadable(path))), ""):
        return why
    if why := next((why for path in SSH_CONFIGS if (why := unreadable_ssh(Path(os.path.expanduser(path))))), ""):
        return why
    if isinstance(error, ValueError) and not line.task:
        return f"the command line can't be read: {one_line(str(error))}; `fab --help` shows what it takes"
    if _is_fabrics(error) and (named := _settings_of_fabric(files)):
        return f"Fabric stops at its settings ({one_line(str(error))}); correct them: {', '.join(named)}"
    return ""


def _is_fabrics(error: BaseException) -> bool:
    """Whether an error was raised where no code of ours was running."""
    files = [Path(frame.filename) for frame in traceback.extract_tb(error.__traceback__)]
    return not any(file.is_relative_to(places.PACKAGES / name) for file in files for name in OWN)


def _settings_of_fabric(files: Sequence[Path]) -> list[str]:
    """Return the names of those files that there are, and of the variables that Fabric reads."""
    variables = sorted(name for name in os.environ if name.startswith("FABRIC_"))
    return [*(str(path) for path in files if path.exists()), *variables]


def unreadable(path: Path) -> str:
    """Return why Fabric can't use a file of settings, "" if it can or there is none."""
    from invoke.util import yaml  # type: ignore[attr-defined]  # Fabric's own reader; invoke itself may be missing

    parse: dict[str, Callable[[str], object]] = {".json": json.loads, ".yaml": yaml.safe_load, ".yml": yaml.safe_load}
    if path.suffix not in (*parse, ".py"):
        return f"{path} can't be read: name a file whose name ends in .yaml, .yml, .json or .py"
    try:
        if path.suffix == ".py" or not path.exists():
            return ""
        found = parse[path.suffix](path.read_text("utf-8"))
    except OSError as error:
        return f"{path} can't be read: {error.strerror}"
    except (ValueError, yaml.YAMLError) as error:
        return f"{path} can't be read: {one_line(str(error))}"
    if found is not None and not isinstance(found, dict):
        return f"{path} can't be used: it holds a {type(found).__name__}; write `fanrun:`, and settings below it"
    name = next((name for name in _names(found) if not isinstance(name, str)), None)
    return "" if name is None else f"{path} can't be used: the name {name!r} is not a text; put it in quotes"


def unreadable_ssh(path: Path) -> str:
    """Return why Fabric can't use a file of OpenSSH's settings, "" if it can or there is none."""
    from paramiko import ConfigParseError, SSHConfig  # paramiko itself may be missing

    if not path.is_file():
        return ""
    try:
        SSHConfig.from_path(str(path))
    except OSError as error:
        return f"{path} can't be read: {error.strerror}"
    except (ConfigParseError, ValueError) as error:
        return f"{path} can't be read: {one_line(str(error))}; correct it, as ssh reads it too"
    return ""


def _names(settings: object) -> Iterator[object]:
    """The names of settings, and of those within them."""
    for name, value in settings.items() if isinstance(settings, dict) else ():
        yield name
        yield from _names(value)


def _tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    line = core.command_line()
    named = [Path(name) for name in (line.config, os.environ.get("INVOKE_RUNTIME_CONFIG")) if name]
    files = [*(Path(os.path.expanduser(path)) for path in SETTINGS), *named]
    text, code = explain(error, None, ExitCode.USAGE)
    text, code = (why, ExitCode.USAGE) if (why := outside(error, line, files)) else (text, code)
    _fail(Console(), text or unexpected(error), code)


def _tell_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
        Console().error(unexpected(args.exc_value))


def _fail(console: Console, text: str, code: int) -> NoReturn:
    console.error(text)
    _drop_full_output()
    raise SystemExit(code)


def _drop_full_output() -> None:
    """Make sure that Python has nothing to complain about when it writes the rest of our output at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        _drop_output()


def _drop_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
