"""The options of provider static."""

from __future__ import annotations

from dataclasses import dataclass

from provision.options import ProviderOptions, file, option, switch, text, text_list

UP_AND_DOWN = ("up", "down")


@dataclass(frozen=True)
class StaticOptions(ProviderOptions):
    """Hold which machines are taken, and how they are reached."""

    host: str = option(
        text_list(),
        "static: a machine that exists, as user@address[:port] or as your ssh_config knows it; repeatable",
        tasks=UP_AND_DOWN,
    )
    hub: str = option(
        text(),
        "static: the machine that is the hub, one of those or another (default: the first of them)",
        tasks=UP_AND_DOWN,
    )
    known_hosts: str = option(
        file(),
        "static: the file with the machines' host keys (default: those of your ssh)",
        tasks=UP_AND_DOWN,
    )
    ssh_config: str = option(
        file(),
        "static: the file that says how to reach them, by which jump hosts (default: your ssh's)",
        tasks=UP_AND_DOWN,
    )
    no_sudo: bool = option(
        switch(),
        "static: use machines as they are, without sudo; their login may use Docker, and nothing is installed",
        tasks=UP_AND_DOWN,
    )
    ask_sudo_password: bool = option(
        switch(),
        "static: ask for the password that sudo wants on the machines",
        tasks=UP_AND_DOWN,
        is_setting=False,
    )
    scan: bool = option(
        switch(),
        "static: show the host keys that the machines offer, and take them if told so",
        is_setting=False,
    )


OPTIONS = StaticOptions
