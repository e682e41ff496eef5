"""An apt repository of the tests' own, signed and served by HTTP from this machine."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from provision.hosts.vector_install import Repository


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files and logs nothing."""

    def log_message(self, *_: object) -> None:
        pass


def make_key(folder: Path) -> str:
    """Make a key, and folder/key.asc of it; returns its fingerprint."""
    home = folder / "gnupg"
    home.mkdir(mode=0o700, parents=True)
    gpg(home, "--passphrase=", "--quick-generate-key", "Tests <tests@invalid>", "rsa2048", "sign", "1d")
    (folder / "key.asc").write_text(gpg(home, "--armor", "--export"))
    listed = gpg(home, "--with-colons", "--list-keys")
    return next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:"))


def gpg(home: Path, *argv: str) -> str:
    """Run gpg with this home; returns what it prints."""
    done = subprocess.run(
        ["gpg", f"--homedir={home}", "--batch", "--yes", "--pinentry-mode=loopback", *argv],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def end_agent(home: Path) -> None:
    """End the agent that gpg has begun for this home."""
    subprocess.run(["gpgconf", f"--homedir={home}", "--kill", "gpg-agent"], check=False, capture_output=True)


def make_repository(folder: Path, packages: Sequence[Path]) -> str:
    """Make a repository of these packages in a folder, signed with a new key; returns its fingerprint."""
    fingerprint = make_key(folder)
    (folder / "pool").mkdir()
    for package in packages:
        shutil.copy(package, folder / "pool")
    scanned = subprocess.run(
        ["dpkg-scanpackages", "--multiversion", "pool"], cwd=folder, capture_output=True, text=True, check=True
    ).stdout
    names = []
    for machine in ("amd64", "arm64"):
        path = folder / "dists/stable/vector-0" / f"binary-{machine}" / "Packages"
        path.parent.mkdir(parents=True)
        path.write_text(scanned)
        digest = hashlib.sha256(scanned.encode()).hexdigest()
        names.append(f" {digest} {len(scanned.encode())} vector-0/{path.parent.name}/Packages")
    release = (
        "Origin: Tests\nSuite: stable\nCodename: stable\nArchitectures: amd64 arm64\nComponents: vector-0\n"
        "Date: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n" + "\n".join(names) + "\n"
    )
    (folder / "dists/stable/Release").write_text(release)
    home = folder / "gnupg"
    lists = folder / "dists" / "stable"
    gpg(home, "--passphrase=", f"--output={lists / 'InRelease'}", "--clearsign", str(lists / "Release"))
    end_agent(home)
    return fingerprint


@contextlib.contextmanager
def served(folder: Path, address: str, fingerprint: str) -> Iterator[Repository]:
    """Serve a repository at this machine's address."""
    handler = functools.partial(Quiet, directory=os.fspath(folder))
    with http.server.ThreadingHTTPServer((address, 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        url = f"http://{address}:{server.server_address[1]}"
        yield Repository(f"{url}/ stable vector-0", address, f"{url}/key.asc", (fingerprint,))
        server.shutdown()
