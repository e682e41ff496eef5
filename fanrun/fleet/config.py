"""Settings of the control machine: from fabric.yaml (`fanrun:`), FANRUN_* and flags, in that order."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from fanrun.fleet.errors import UsageError
from fanrun.fleet.values import path, size, whole_number

MAX_HOSTS = 1000


@dataclass(frozen=True)
class OptionNames:
    """Name the options of providers that are settings as well; `files` are those that are paths."""

    names: tuple[str, ...] = ()
    files: frozenset[str] = frozenset()


NO_OPTIONS = OptionNames()


@dataclass(frozen=True)
class Logs:
    """Say how container logs are shipped to the hub.

    `required` makes it an error where they can't be shipped, `package` is a file that installs Vector ("": its own
    repository).  `batch` and `spool` are the most bytes of a batch's and of a worker's logs.  The hub removes logs
    after `days` days, and the oldest ones where they take more than `bytes` bytes.  With `enabled` off nothing is
    shipped.
    """

    required: bool = False
    package: str = ""
    batch: int = 32 * 1024**2
    spool: int = 1024**3
    days: int = 14
    bytes: int = 10 * 1024**3
    enabled: bool = True


NESTED = ("logs", "cache")
"""The settings whose values are mappings of settings."""
CACHE_OFF = ("off", "false", "0")
CACHE_WORDS = {"on": {}, "true": {}, **{word: {"bytes": "0"} for word in CACHE_OFF}}
"""The settings that each value of one word stands for."""
LOGS = tuple(setting.name for setting in fields(Logs))
ON, OFF = {"enabled": "true"}, {"enabled": "false"}
LOGS_WORDS = {"required": {"required": "true", **ON}, "on": ON, "true": ON, "off": OFF, "false": OFF}
"""The settings that each value of one word stands for (YAML reads `on` and `off` as true and false)."""


@dataclass(frozen=True)
class Settings:
    """Hold what a task works with; `home` is the folder that holds one folder for each fleet.

    `hosts` is None where no number was given: a fleet keeps the one it has.  `provider_options` are those that were
    given, as texts.  `cache` is the maximum number of bytes of inputs that each worker keeps for later runs (None: a
    quarter of its free disk, 0: none).
    """

    home: Path
    provider: str = "local"
    fleet: str = "default"
    hosts: int | None = None
    provider_options: dict[str, str] = field(default_factory=dict)
    logs: Logs = Logs()
    cache: int | None = None


def me() -> str:
    """Return who owns a fleet where no owner is given: user@machine."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in a container
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def settings(
    root: Path,
    file: Mapping[str, object],
    environment: Mapping[str, str],
    flags: Mapping[str, str | None],
    options: OptionNames = NO_OPTIONS,
) -> Settings:
    """Merge the three sources, the later winning; UsageError names the setting that is wrong.

    `file` is the mapping under `fanrun:` in fabric.yaml, `environment` has FANRUN_PROVIDER and the like, a flag that
    was not given is None, `options` are those of providers.  Paths of files in fabric.yaml are relative to its folder.
    """
    known = ("home", "provider", "fleet", "hosts", *options.names)
    unknown = sorted(str(name) for name in set(file) - {*known, *NESTED})
    if unknown:
        raise UsageError(f"fabric.yaml: fanrun has no setting {unknown[0]!r}; it has {', '.join((*known, *NESTED))}")
    merged = {key: _text(key, value) for key, value in file.items() if value is not None and key not in NESTED}
    merged |= {key: str(root / path(key, merged[key])) for key in options.files if key in merged}
    merged |= {key: environment[f"FANRUN_{key.upper()}"] for key in known if environment.get(f"FANRUN_{key.upper()}")}
    merged |= {key: value for key, value in flags.items() if value is not None}
    merged |= {key: str(Path.cwd() / path(key, merged[key])) for key in options.files if key in merged}
    return Settings(
        home=root / path("home", merged.get("home", ".fanrun")),  # an absolute path stays what it is
        provider=merged.get("provider", "local"),
        fleet=merged.get("fleet", "default"),
        hosts=whole_number("hosts", merged["hosts"], 1, MAX_HOSTS) if "hosts" in merged else None,
        provider_options={name: merged[name] for name in options.names if name in merged},
        logs=logs(root, file.get("logs"), environment, flags.get("vector")),
        cache=cache_bytes(file.get("cache"), environment),
    )


def cache_bytes(file: object, environment: Mapping[str, str]) -> int | None:
    """Return the maximum number of bytes of inputs that each worker keeps; None means a quarter of the free disk.

    `file` is the value of `cache` in fabric.yaml; FANRUN_CACHE and FANRUN_CACHE_BYTES take its place.  UsageError names
    the setting that is wrong.
    """
    file = environment.get("FANRUN_CACHE") or file
    found = {} if file is None else CACHE_WORDS.get(str(file).lower(), file)
    if not isinstance(found, Mapping):
        raise UsageError(f"cache is {file!r}; give on, off, or a mapping of bytes")
    if unknown := sorted(str(key) for key in set(found) - {"bytes"}):
        raise UsageError(f"cache has no setting {unknown[0]!r}; it has bytes")
    given = environment.get("FANRUN_CACHE_BYTES") or found.get("bytes")
    if given is None:
        return None
    text = _text("cache.bytes", given)
    return 0 if text.lower() in CACHE_OFF else size("cache.bytes", text, 1024**2)


def logs(root: Path, file: object, environment: Mapping[str, str], package: str | None) -> Logs:
    """Merge the settings of log shipping: fabric.yaml's `logs`, FANRUN_LOGS and FANRUN_LOGS_*, and --vector.

    UsageError names the setting that is wrong.
    """
    merged = _logs_texts("fabric.yaml: logs", file)
    if merged.get("package"):
        merged["package"] = str(root / path("logs.package", merged["package"]))
    merged |= _logs_texts("FANRUN_LOGS", environment.get("FANRUN_LOGS") or None)
    given = {key: environment.get(f"FANRUN_LOGS_{key.upper()}") for key in LOGS} | (
        {"package": package} if package else {}
    )
    merged |= {key: value for key, value in given.items() if value}
    if merged.get("package"):
        merged["package"] = str(Path.cwd() / path("logs.package", merged["package"]))
    sizes = {key: size(f"logs.{key}", merged[key], 1024**2) for key in ("batch", "spool", "bytes") if key in merged}
    return Logs(
        **sizes,
        required=_flag("logs.required", merged.get("required", "false")),
        package=merged.get("package", ""),
        days=whole_number("logs.days", merged["days"], 1, 3650) if "days" in merged else Logs.days,
        enabled=_flag("logs.enabled", merged.get("enabled", "true")),
    )


def _logs_texts(name: str, value: object) -> dict[str, str]:
    """Return settings of log shipping as texts: `value` is a mapping, or one of LOGS_WORDS, or None."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        word = str(value).lower()
        if word not in LOGS_WORDS:
            raise UsageError(f"{name} is {value!r}; give {', '.join(LOGS_WORDS)}, or a mapping of {', '.join(LOGS)}")
        return dict(LOGS_WORDS[word])
    if unknown := sorted(str(key) for key in set(value) - set(LOGS)):
        raise UsageError(f"{name} has no setting {unknown[0]!r}; it has {', '.join(LOGS)}")
    return {key: _text(f"logs.{key}", item) for key, item in value.items() if item is not None}


def _flag(name: str, text: str) -> bool:
    """Return whether a setting is on; UsageError for a text that is neither true nor false."""
    if text.lower() not in ("true", "false"):
        raise UsageError(f"{name} is {text!r}; give true or false")
    return text.lower() == "true"


def usual_fleet(file: Mapping[str, object], environment: Mapping[str, str]) -> str:
    """Return the name of the fleet that a task works with where no --fleet is given."""
    return environment.get("FANRUN_FLEET") or str(file.get("fleet") or Settings.fleet)


def _text(name: str, value: object) -> str:
    """Return a setting of fabric.yaml as text; UsageError unless it is a text, a number or a list of them."""
    items = value if isinstance(value, list) else [value]
    if bad := [item for item in items if not isinstance(item, (str, int, float))]:
        raise UsageError(f"fabric.yaml: {name} holds {bad[0]!r}; give a text, a number, or a list of them")
    return ",".join(map(str, items))
