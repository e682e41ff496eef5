"""What this machine's network asks of a build: its CAs, its proxies, and pip's index."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import ssl
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")


CA_FILES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


PIP_FOLDERS = ("/etc/xdg/pip", "/etc", "/Library/Application Support/pip")


PIP_INDEX = ("index-url", "extra-index-url", "trusted-host")


# docker knows these by itself, and keeps them out of the image
PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


@dataclass(frozen=True)
class BuildSettings:
    """What this machine's network asks of a build: `files` by name, for build-settings/, and docker's options.

    `proxies` are names of environment variables, whose values docker takes from the environment itself, so that a
    password in them is in no command line.  `loopback` says that a proxy or an index listens on this machine.
    """

    files: Mapping[str, bytes] = field(default_factory=dict)
    proxies: tuple[str, ...] = ()
    loopback: bool = False


def machine_settings(environ: Mapping[str, str]) -> BuildSettings:
    """Gather what this machine's network asks of a build from the environment, pip's settings and apt's."""
    pip = pip_settings(environ)
    index = {key: pip[key] for key in PIP_INDEX if pip.get(key)}
    files = {
        "ca.pem": ca_bundle(environ, pip.get("cert")),
        "pip.conf": "".join(["[global]\n", *(f"{key} = {index[key]}\n" for key in index)]).encode() if index else b"",
        "apt.conf": apt_proxies(),
    }
    proxies = tuple(name for name in PROXIES if environ.get(name))
    urls = [environ[name] for name in proxies] + " ".join(index.values()).split()
    urls += re.findall(r'"(.*)"', files["apt.conf"].decode())
    return BuildSettings({name: text for name, text in files.items() if text}, proxies, any(map(is_loopback, urls)))


def is_loopback(url: str) -> bool:
    """Tell whether a URL leads to this machine itself, where a container's own network would not."""
    with suppress(ValueError):
        host = urlsplit(url).hostname or ""
        return host in ("localhost", "::1") or host.startswith("127.")
    return False


def ca_bundle(environ: Mapping[str, str], cert: str | None = None) -> bytes:
    """Read the CAs that this machine trusts, as PEM: pip's own `cert` before all others; none if no file has them."""
    paths = [environ.get("PIP_CERT"), cert, *map(environ.get, CA_VARIABLES)]
    for path in filter(None, (*paths, ssl.get_default_verify_paths().cafile, *CA_FILES)):
        with suppress(OSError):
            return Path(path).read_bytes()
    return b""


def pip_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Read pip's settings as pip does, without the URLs that lead nowhere from inside a build, as file:// does.

    https://pip.pypa.io/en/stable/topics/configuration/; read here because asking pip takes most of a second.
    """
    home, named = Path(environ.get("HOME", "/")), environ.get("PIP_CONFIG_FILE", "")
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    user = [home / ".pip", home / "Library/Application Support/pip", config / "pip"]
    folders = [*map(Path, PIP_FOLDERS), *user, Path(sys.prefix)]
    parser = configparser.RawConfigParser(strict=False)
    with suppress(configparser.Error, UnicodeDecodeError):  # then pip says so, better than we can
        if named != os.devnull:
            parser.read([*(folder / "pip.conf" for folder in folders), *filter(None, [named])])
    found = {key: value for scope in ("global", "install") if scope in parser for key, value in parser[scope].items()}
    found |= {key: environ[name] for key in PIP_INDEX if (name := f"PIP_{key.upper().replace('-', '_')}") in environ}
    return {
        key: " ".join(word for word in value.split() if "://" not in word or word.startswith("http"))
        for key, value in found.items()
    }


def apt_proxies() -> bytes:
    """Return apt's settings of proxies, as apt.conf has them; none where there is no apt."""
    if shutil.which("apt-config") is None:
        return b""
    told = subprocess.run(["apt-config", "dump"], capture_output=True, check=False).stdout
    return b"".join(re.findall(rb"(?im)^Acquire::https?::Proxy(?:::\S+)? .*;\n", told))
