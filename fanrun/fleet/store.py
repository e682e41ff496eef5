"""The folder where the client keeps what it knows of a fleet."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from fanrun.fleet.errors import Busy, FleetDamaged, FleetError, UsageError
from fanrun.fleet.known_fleets import list_fleets
from fanrun.fleet.known_hosts import KnownHosts
from fanrun.fleet.layout import USUAL, Layout
from fanrun.fleet.lock import exclusive
from fanrun.fleet.model import ID, NAME, VERSION, Fleet, from_json, to_json, with_paths
from fanrun.fleet.private_files import write_private
from fanrun.fleet.ssh_config import quoted, ssh_config
from fanrun.fleet.sudo import SudoPassword

ROOT = "${root}/"
"""Stands in fleet.json for the folder that the fleets' folders belong to: it may be moved."""
LEFTOVER = re.compile(r"\.[a-z_.]+\.[a-z0-9_]{8}")
"""How write_private names a file until it is whole."""


class Folder:
    """`.fanrun/<name>/`: id, fleet.json, ssh_config, known_hosts, the fleet's key and CA."""

    def __init__(self, home: Path, name: str) -> None:
        if not NAME.fullmatch(name):
            raise UsageError(
                f"{name!r} is no name for a fleet; use up to 31 of a-z, 0-9 and -, beginning with a letter or digit"
            )
        self.name = name
        self.path = (home / name).absolute()
        self.id_file = self.path / "id"
        self.lock_file = self.path / "lock"
        self.fleet_json = self.path / "fleet.json"
        self.ssh_config = self.path / "ssh_config"
        self.known_hosts = self.path / "known_hosts"
        self.host_keys = KnownHosts(self.known_hosts)
        self.key = self.path / "key"
        self.ca_key = self.path / "ca.key"
        self.ca_cert = self.path / "ca.crt"
        self.drained_file = self.path / "drained"
        self.sudo = SudoPassword()  # never in a file

    def exists(self) -> bool:
        """Whether a fleet of this name was begun here, be its fleet.json still there or not."""
        return any(path.exists() for path in (self.fleet_json, self.id_file, self.key))

    def drained(self) -> frozenset[str]:
        """Return the workers that get nothing more to do; nobody if that can't be read."""
        with contextlib.suppress(OSError):
            return frozenset(self.drained_file.read_text("utf-8", "replace").split())
        return frozenset()

    def set_drained(self, names: Iterable[str]) -> None:
        """Note which workers get nothing more to do."""
        write_private(self.drained_file, "".join(f"{name}\n" for name in sorted(names)).encode())

    def create(self) -> None:
        """Make the folder, private to the caller, if it isn't there."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def ids(self) -> tuple[str, ...]:
        """The fleet's own id, and after it the ids of older hosts that it has adopted.

        Empty if it has none yet, or if they can't be read: then no host is known to be the fleet's.
        """
        with contextlib.suppress(FleetDamaged):
            return self._read_ids()
        return ()

    @property
    def id(self) -> str:
        """The random id that all hosts of the fleet carry; "" if it has none."""
        return next(iter(self.ids), "")

    def ensure_id(self) -> str:
        """Return the fleet's id, made if it has none; FleetDamaged if it has one that can't be read."""
        self.adopt(())
        return self.id

    def adopt(self, ids: Iterable[str]) -> None:
        """Note that hosts with these ids are the fleet's too, which gets an id if it has none."""
        known = self._read_ids()
        all_ids = known or (secrets.token_hex(8),)
        all_ids += tuple(sorted(set(ids) - set(all_ids)))
        if all_ids != known:
            self.create()
            write_private(self.id_file, "".join(f"{each}\n" for each in all_ids).encode())

    def _read_ids(self) -> tuple[str, ...]:
        """Return what the file of ids holds, nothing if there is none; FleetDamaged if it holds anything else."""
        try:
            found = tuple(self.id_file.read_text("ascii").split())
            if not found or not all(map(ID.fullmatch, found)):
                raise ValueError("it holds no id")
        except FileNotFoundError:
            return ()
        except (OSError, ValueError) as error:
            raise FleetDamaged(
                f"{self.id_file} can't be read ({error}); restore it, or end the fleet with `fab down`", fleet=self.name
            ) from error
        return found

    @property
    def outdated(self) -> bool:
        """Whether an older version of Fanrun, that knew no ids, wrote the folder."""
        try:
            return "version" not in self._read()
        except FleetError:
            return self.key.exists() and not self.id_file.exists()

    @property
    def complete(self) -> bool:
        """Whether fleet.json is as it was written, or no fleet was begun here."""
        try:
            self.load()
        except FleetError:
            return not self.exists()
        return True

    def require_ids(self) -> None:
        """Raise FleetDamaged if the fleet has an id that can't be read."""
        self._read_ids()

    @property
    def _root(self) -> str:
        """The folder that is moved when the fleets' folders are: the checkout, or their own folder elsewhere."""
        home = self.path.parent
        return f"{home.parent if home.name == '.fanrun' else home}/"

    def load(self) -> Fleet:
        """Return the fleet as last saved; FleetError when there is none, FleetDamaged when it can't be read.

        A folder that was moved since then gets an ssh_config that fits.
        """
        data = self._read()
        version = data.get("version", 1)
        if isinstance(version, int) and version > VERSION:
            raise FleetError(
                f"fleet {self.name} was written by a newer Fanrun (version {data['version']}, this one knows "
                f"{VERSION}); update this Fanrun, or work with the newer one",
                fleet=self.name,
            )
        try:
            if "version" in data and version != VERSION:
                raise ValueError(f"it has the version {version!r}")
            fleet = with_paths(from_json(data["fleet"] if "version" in data else data), ROOT, self._root)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._damaged(error) from error
        if fleet.name != self.name:
            raise FleetError(
                f"{self.path} is the folder of fleet {fleet.name}, whose hosts have that name; rename the folder back "
                f"to {fleet.name}",
                fleet=self.name,
            )
        if not self.ssh_config.exists() or quoted(self.key) not in self.ssh_config.read_text("utf-8", "replace"):
            write_private(self.ssh_config, self._ssh_config(fleet).encode())
        return fleet

    def layout(self, name: str) -> Layout:
        """Return where Fanrun's files are on the host of that name; the usual places if the host is not known."""
        hosts = self.load().hosts if self.fleet_json.exists() else ()
        return next((host.layout for host in hosts if host.name == name), USUAL)

    def _ssh_config(self, fleet: Fleet) -> str:
        return ssh_config(fleet, self.path, key=self.key, known_hosts=self.known_hosts)

    def _read(self) -> dict[str, Any]:
        """Return what fleet.json holds; FleetError when there is none, FleetDamaged when it is not JSON."""
        try:
            data = json.loads(self.fleet_json.read_text("utf-8"))
            if not isinstance(data, dict):
                raise TypeError("it is not a JSON object")
            return data
        except FileNotFoundError as error:
            if self.exists():
                raise self._damaged("it is missing, though the fleet's id or key is there") from error
            others = f"{known}; " if (known := list_fleets(self.path.parent)) else ""
            raise FleetError(f"there is no fleet {self.name}; {others}`fab up` starts one", fleet=self.name) from error
        except (PermissionError, IsADirectoryError) as error:
            raise FleetDamaged(
                f"{self.fleet_json} can't be read ({error.strerror}); make it readable for you", fleet=self.name
            ) from error
        except (OSError, ValueError, TypeError) as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception | str) -> FleetDamaged:
        return FleetDamaged(
            f"{self.fleet_json} can't be read ({error}); restore it, or end the fleet with `fab down --provider=NAME` "
            "(--provider=ec2 with the --region that it is in)",
            fleet=self.name,
        )

    def save(self, fleet: Fleet) -> None:
        """Write fleet.json and the ssh_config that follows from it."""
        write_private(self.ssh_config, self._ssh_config(fleet).encode())
        data = {"version": VERSION, "fleet": to_json(with_paths(fleet, self._root, ROOT))}
        write_private(self.fleet_json, json.dumps(data, indent=2).encode() + b"\n")
        gone = self.drained() - {host.name for host in fleet.hosts}
        if gone:  # a new host of that name has not been drained
            self.set_drained(self.drained() - gone)

    def remove(self) -> None:
        """Delete the folder with the keys in it.

        What says that there is a fleet goes first: where this is interrupted, `fab down` can be repeated.
        """
        for path in (self.id_file, self.key, self.fleet_json):
            with contextlib.suppress(OSError):
                path.unlink()
        shutil.rmtree(self.path, ignore_errors=True)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the fleet for a change; FleetError at once if another process does.

        A folder that holds nothing else afterwards is deleted.
        """
        self.create()
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(exclusive(self.lock_file, f"process {os.getpid()}"))
            except Busy as error:
                raise FleetError(
                    f"fleet {self.name} is being changed by {error.holder}; wait for it and try again", fleet=self.name
                ) from error
            self._remove_leftovers()
            try:
                yield
            finally:
                if self.path.exists() and {path.name for path in self.path.iterdir()} <= {self.lock_file.name}:
                    self.remove()

    def _remove_leftovers(self) -> None:
        """Remove the temporary files of a command that was killed; the lock is held, so none is in use."""
        for path in self.path.glob(".*"):
            if LEFTOVER.fullmatch(path.name):
                path.unlink(missing_ok=True)
