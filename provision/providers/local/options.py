"""The options of provider local."""

from __future__ import annotations

from dataclasses import dataclass

from provision.options import ProviderOptions, option, text


@dataclass(frozen=True)
class LocalOptions(ProviderOptions):
    """Hold what containers of this machine's Docker are made with."""

    daemon: str = option(text(), "the id of the Docker daemon that has the hosts", tasks=())


OPTIONS = LocalOptions
