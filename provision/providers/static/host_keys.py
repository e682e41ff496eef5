"""The host keys of machines: from files that a person keeps, or confirmed by a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fanrun.fleet.errors import HostsFailed, UsageError
from fanrun.fleet.model import KEY_TYPE
from fanrun.fleet.parallel import fan_out
from fanrun.fleet.store import Folder
from provision.providers.base import Confirm
from provision.providers.static import user_ssh
from provision.providers.static.uncleaned import UncleanedMachines
from provision.providers.static.user_ssh import SshTarget


class HostKeys(dict[str, str]):
    """The host keys that are known, by the machines' places."""

    def __init__(self, folder: Folder, file: str) -> None:
        """`file` is a known_hosts file that comes before all others, "" for none."""
        super().__init__()
        self._folder, self._file = folder, file
        self._uncleaned = UncleanedMachines(folder)

    def learn(self, targets: Sequence[SshTarget], confirm: Confirm | None) -> None:
        """Know every machine's host key: from the file named, the fleet's folder, ssh's own files, or a person."""
        unknown = {each.place: each for each in targets if each.place not in self}
        known = {place: key for place, each in unknown.items() if (key := self._known_key(each))}
        if confirm is not None and unknown:
            known = _ask_for(unknown, known, confirm)
        if missing := ", ".join(sorted(each.given for place, each in unknown.items() if place not in known)):
            raise UsageError(
                f"no {KEY_TYPE} host key is known of {missing}: name a file that has it with --known-hosts, "
                "or look at it with --scan"
            )
        self.update(known)

    def _known_key(self, way: SshTarget) -> str:
        named = user_ssh.known_key(way, self._file) if self._file else ""
        left = self._uncleaned.read().get(way.place, (None, ""))[1]
        return named or self._folder.host_keys.key(way.address, way.port) or left or user_ssh.known_key(way)


def _ask_for(ways: Mapping[str, SshTarget], known: Mapping[str, str], confirm: Confirm) -> dict[str, str]:
    """Show a person the keys that answer at these places, where they are other than known; returns all of them."""
    keys, errors = fan_out(ways, lambda place: user_ssh.offered_key(ways[place]))
    if errors:
        raise HostsFailed(errors)
    new = {place: key for place, key in sorted(keys.items()) if known.get(place) != key}
    shown = [
        f"{ways[place].given}  {user_ssh.fingerprint(key)}{', NOT the one known so far' if place in known else ''}"
        for place, key in new.items()
    ]
    told = "on the machine itself, `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` prints it"
    if new and not confirm("\n".join([*shown, f"Are these their host keys ({told})?"])):
        raise UsageError("not taken: the host keys were not confirmed")
    return keys
