"""Environment variables of the program; the ledger knows their values only by a keyed hash."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fanrun.fleet.errors import UsageError
from fanrun.fleet.private_files import write_private

KEY_FILE = "variables.key"
KEY_BYTES = 32


@dataclass(frozen=True)
class Variables:
    """Environment variables by name; their values may be secret, so no text of this object has them."""

    values: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def names(self) -> list[str]:
        """The names, sorted."""
        return sorted(self.values)

    @property
    def env_file(self) -> bytes:
        """The text of a file for `docker run --env-file`."""
        return "".join(f"{name}={self.values[name]}\n" for name in self.names).encode()

    def digest(self, key: bytes) -> str:
        """Return the keyed hash of names and values; "" if there are none."""
        if not self.values:
            return ""
        return hmac.new(key, json.dumps(sorted(self.values.items())).encode(), hashlib.sha256).hexdigest()


NO_VARIABLES = Variables()


def hash_variables(variables: Variables, state: Path, *, write: bool = True) -> str:
    """Return the keyed hash of variables, "" if there are none; `state` is the folder that holds the key.

    The key is made if there is none.  Without `write` nothing is changed, and the hash is one that no run has had.
    Raises UsageError if the key can't be read or written.
    """
    if not variables.values:
        return ""
    path = state / KEY_FILE
    try:
        with contextlib.suppress(FileNotFoundError):
            return variables.digest(path.read_bytes())
        key = os.urandom(KEY_BYTES)
        if write:
            write_private(path, key)
        return variables.digest(key)
    except OSError as error:
        raise UsageError(
            f"{path} can't be read or written ({error.strerror}); change its owner, or move it away, and results are "
            "made anew"
        ) from error


def remembered(variables: Variables, digest: str) -> dict[str, Any]:
    """Return what `fab retry` needs of variables, fit for JSON."""
    return {"variables": {"names": variables.names, "hash": digest}} if variables.values else {}


def check_same(variables: Variables, kept: Mapping[str, Any], state: Path) -> None:
    """Raise UsageError unless these are the variables of an earlier run, of which `kept` has what `remembered` has."""
    last = kept.get("variables", {"names": [], "hash": ""})
    if variables.names != last["names"]:
        if not last["names"]:
            raise UsageError("the last run had no environment variables; leave out --env and --env-file")
        options = " ".join(f"--env {name}" for name in last["names"])
        raise UsageError(
            f"the last run had environment variables, whose values are not stored; give the same ones: {options}"
        )
    if hash_variables(variables, state, write=False) != last["hash"]:
        raise UsageError(
            f"other values of {', '.join(variables.names)} than in the last run; give the same ones, or type `fab run` "
            "to process all inputs with the new ones"
        )
