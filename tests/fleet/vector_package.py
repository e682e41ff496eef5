"""A small Debian package that stands for Vector's: its program listens as its configuration says, and ships nothing.

It has what Fanrun relies on: the program's options, its user, its own service with an example.  It reads addresses and
TLS files from the configuration, and answers whoever gets as far as to send it something.  So tests of these addresses
are about our configuration; how Vector itself does TLS is tested where there is a `vector` on PATH.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

PROGRAM = Path(__file__).with_name("vector_program.py").read_text()
# As in the real one's scripts, which add to groups what is there.
PREINST = """#!/bin/sh
set -e
id --user vector >/dev/null 2>&1 ||
  useradd --system --shell /sbin/nologin --home-dir /var/lib/vector --user-group vector
mkdir -p /var/lib/vector
chown -R vector:vector /var/lib/vector
"""
POSTINST = """#!/bin/sh
set -e
usermod --append --groups adm vector || true
if [ -d /run/systemd/system ]; then systemctl daemon-reload; systemctl start vector || true; fi
"""
UNIT = "[Service]\nExecStart=/usr/bin/vector --config /etc/vector/vector.yaml\n[Install]\nWantedBy=multi-user.target\n"


def build(folder: Path, version: str = "0.57.0", package: str = "vector") -> Path:
    """Make the package; returns its file."""
    top = folder / f"{package}-{version}"
    control = (
        f"Package: {package}\nVersion: {version}-1\nArchitecture: all\nMaintainer: Tests <tests@invalid>\n"
        "Depends: python3-minimal\nDescription: Stands for Vector in Fanrun's tests\n"
    )
    for path, text, mode in (
        ("DEBIAN/control", control, 0o644),
        ("DEBIAN/preinst", PREINST, 0o755),
        ("DEBIAN/postinst", POSTINST, 0o755),
        ("DEBIAN/conffiles", "/etc/vector/vector.yaml\n", 0o644),
        (f"usr/bin/{package}", PROGRAM.replace("0.0.0", version), 0o755),
        ("etc/vector/vector.yaml", "sources: {}\n", 0o644),
        (f"usr/lib/systemd/system/{package}.service", UNIT, 0o644),
    ):
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_text(text)
        (top / path).chmod(mode)
    file = folder / f"{package}_{version}-1_all.deb"
    argv = ["dpkg-deb", "--root-owner-group", "-Zxz", "--build", str(top), str(file)]
    subprocess.run(argv, check=True, capture_output=True)
    return file
