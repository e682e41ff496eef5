"""Settings of the control machine: from fabric.yaml (`fanrun:`), FANRUN_* and flags, in that order."""

from __future__ import annotations

import getpass
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from fanrun.fleet.errors import UsageError
from fanrun.fleet.values import duration, path, size, whole_number

MAX_HOSTS = 1000


@dataclass(frozen=True)
class ProviderOptions:
    """What kind of hosts a provider shall launch, where it has a choice; "" and 0 leave it to the provider.

    `disk` is in GiB, `ttl` and `boot_timeout` in seconds, `allow` has networks with commas between them, `prices` is a
    file, `account` the number of one of AWS's, `profile` one of its settings', `owner` who the hosts are marked as
    belonging to, `daemon` the id of a Docker daemon.  `host` has machines, with commas between, `hub` one,
    `known_hosts` and `ssh_config` are files.
    """

    account: str = ""
    region: str = ""
    profile: str = ""
    owner: str = ""
    daemon: str = ""
    instance_type: str = ""
    hub_type: str = ""
    ami: str = ""
    subnet: str = ""
    allow: str = ""
    prices: str = ""
    host: str = ""
    hub: str = ""
    known_hosts: str = ""
    ssh_config: str = ""
    spot: bool = False
    disk: int = 30
    ttl: int = 4 * 3600
    boot_timeout: int = 300
    min_hosts: int = 0


PROVIDER_OPTIONS = tuple(option.name for option in fields(ProviderOptions))


@dataclass(frozen=True)
class Logs:
    """How container logs are shipped to the hub.

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


LOGS = tuple(setting.name for setting in fields(Logs))
ON, OFF = {"enabled": "true"}, {"enabled": "false"}
LOGS_WORDS = {"required": {"required": "true", **ON}, "on": ON, "true": ON, "off": OFF, "false": OFF}
"""What `logs` may be in one word (YAML reads `on` and `off` as true and false), and what that means."""


@dataclass(frozen=True)
class Settings:
    """What a task works with; `home` is the folder that holds one folder a fleet.

    `hosts` is None where nobody named a number: a fleet keeps the one it has.  `provider_options` are the named ones.
    """

    home: Path
    provider: str = "local"
    fleet: str = "default"
    hosts: int | None = None
    provider_options: dict[str, str] = field(default_factory=dict)
    logs: Logs = Logs()


def me() -> str:
    """Who a fleet belongs to if nobody else is named."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in a container
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


FILES = ("prices", "known_hosts", "ssh_config")
TYPE = r"[a-z0-9-]+\.[a-z0-9-]+"
FORMS = {
    "account": (r"[0-9]{12}", "123456789012"),
    "region": (r"[a-z]{2}(-[a-z]+)+-[0-9]", "eu-central-1"),
    "instance_type": (TYPE, "c6i.large"),
    "hub_type": (TYPE, "t3.small"),
    "ami": (r"ami-[0-9a-f]+", "ami-0123456789abcdef0"),
    "subnet": (r"subnet-[0-9a-f]+", "subnet-0123456789abcdef0"),
}
"""What some options look like: a pattern, and an example."""


def provider_options(given: Mapping[str, str]) -> ProviderOptions:
    """Return the options in these texts, by name; UsageError names the one that can't be meant."""
    text = {name: value.strip() for name, value in given.items() if name in PROVIDER_OPTIONS}
    for name, (pattern, example) in FORMS.items():
        if text.get(name) and not re.fullmatch(pattern, text[name]):
            raise UsageError(f"--{name.replace('_', '-')} {text[name]!r} is none; they look like {example}")
    if text.get("spot", "false").lower() not in ("true", "false", ""):
        raise UsageError(f"--spot={text['spot']}: give true or false")
    return ProviderOptions(
        **{option.name: text.get(option.name, "") for option in fields(ProviderOptions) if option.default == ""},
        spot=text.get("spot", "").lower() == "true",
        disk=whole_number("disk", text["disk"], 8, 16384) if "disk" in text else ProviderOptions.disk,
        ttl=duration("ttl", text["ttl"], 600) if "ttl" in text else ProviderOptions.ttl,
        boot_timeout=whole_number("boot-timeout", text["boot_timeout"], 10, 7200)
        if "boot_timeout" in text
        else ProviderOptions.boot_timeout,
        min_hosts=whole_number("min-hosts", text["min_hosts"], 1, MAX_HOSTS) if "min_hosts" in text else 0,
    )


def settings(
    root: Path, file: Mapping[str, object], environment: Mapping[str, str], flags: Mapping[str, str | None]
) -> Settings:
    """Merge the three sources, the later winning; UsageError names the setting that is off.

    `file` is the mapping under `fanrun:` in fabric.yaml, `environment` has FANRUN_PROVIDER and
    the like, a flag that was not given is None.  Files named in fabric.yaml are looked for beside it.
    """
    known = ("home", "provider", "fleet", "hosts", *PROVIDER_OPTIONS)
    unknown = sorted(str(name) for name in set(file) - {*known, "logs"})
    if unknown:
        raise UsageError(f"fabric.yaml: fanrun has no setting {unknown[0]!r}; it has {', '.join((*known, 'logs'))}")
    merged = {key: _text(key, value) for key, value in file.items() if value is not None and key != "logs"}
    merged |= {key: str(root / path(key, merged[key])) for key in FILES if key in merged}
    merged |= {key: environment[f"FANRUN_{key.upper()}"] for key in known if environment.get(f"FANRUN_{key.upper()}")}
    merged |= {key: value for key, value in flags.items() if value is not None}
    merged |= {key: str(Path.cwd() / path(key, merged[key])) for key in FILES if key in merged}
    home = path("home", merged.get("home", ".fanrun"))
    return Settings(
        home=home if home.is_absolute() else root / home,
        provider=merged.get("provider", "local"),
        fleet=merged.get("fleet", "default"),
        hosts=whole_number("hosts", merged["hosts"], 1, MAX_HOSTS) if "hosts" in merged else None,
        provider_options={name: merged[name] for name in PROVIDER_OPTIONS if name in merged},
        logs=logs(root, file.get("logs"), environment, flags.get("vector")),
    )


def logs(root: Path, file: object, environment: Mapping[str, str], package: str | None) -> Logs:
    """Merge the settings of log shipping: fabric.yaml's `logs`, FANRUN_LOGS and FANRUN_LOGS_*, and --vector.

    UsageError names the setting that is off.
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
    """Whether a setting is on; UsageError for a text that is neither true nor false."""
    if text.lower() not in ("true", "false"):
        raise UsageError(f"{name} is {text!r}; give true or false")
    return text.lower() == "true"


def usual_fleet(file: Mapping[str, object], environment: Mapping[str, str]) -> str:
    """Return the name of the fleet that a task works with where no --fleet is given."""
    return environment.get("FANRUN_FLEET") or str(file.get("fleet") or Settings.fleet)


def _text(name: str, value: object) -> str:
    """A setting of fabric.yaml as text; UsageError for one that is neither a word, a number nor a list of them."""
    items = value if isinstance(value, list) else [value]
    if bad := [item for item in items if not isinstance(item, (str, int, float))]:
        raise UsageError(f"fabric.yaml: {name} holds {bad[0]!r}; give a text, a number, or a list of them")
    return ",".join(map(str, items))
