"""A small Debian package that stands for Vector's: its program checks its configuration, and then waits for its end.

It has what Fanrun relies on: the program's options, its user, its own service with an example.  It ships nothing.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

PROGRAM = r"""#!/bin/sh
# Stands for Vector in Fanrun's tests.
case ${1:-} in
  --version) echo "vector VERSION (tests)" ;;
  validate)
    for file; do :; done
    if grep -q -e '"ADDRESS' -e '"HOST"' "$file" || ! grep -q '^data_dir = ' "$file"; then echo "no: $file"; exit 78; fi
    ;;
  --config)
    [ -r "$2" ] || exit 78
    for file in $(sed -n 's/^\(ca\|crt\|key\)_file = "\(.*\)"/\2/p' "$2"); do [ -r "$file" ] || exit 78; done
    trap 'exit 0' TERM INT
    while :; do sleep 1 & wait $!; done
    ;;
  *) exit 2 ;;
esac
"""
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
        "Description: Stands for Vector in Fanrun's tests\n"
    )
    for path, text, mode in (
        ("DEBIAN/control", control, 0o644),
        ("DEBIAN/preinst", PREINST, 0o755),
        ("DEBIAN/postinst", POSTINST, 0o755),
        ("DEBIAN/conffiles", "/etc/vector/vector.yaml\n", 0o644),
        (f"usr/bin/{package}", PROGRAM.replace("VERSION", version), 0o755),
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
