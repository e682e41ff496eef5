"""The way into a host, as far as it needs no host; and the fan-out."""

from __future__ import annotations

import os
import shlex
import subprocess
import threading
from pathlib import Path

import paramiko
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanrun.fleet.errors import FanrunError, HostError, HostsFailed, HostUnreachable
from fanrun.fleet.parallel import FAN_OUT, fan_out
from fanrun.fleet.shell import line
from fanrun.fleet.ssh import Remote, put_argv, shorten, unreachable
from fanrun.fleet.ssh_commands import disconnect_argv, rsync_shell, ssh_argv
from fanrun.fleet.store import Folder
from provision import lifecycle
from tests.unit.samples import FLEET

PATIENCE = 20
ELSEWHERE = """
gateway: nobody@192.0.2.1
ssh_config_path: /nowhere
connect_kwargs: {password: secret, allow_agent: true}
authentication: {strategy_class: none}
inline_ssh_env: false
forward_agent: true
timeouts: {command: 1, connect: 1}
run: {dry: true, asynchronous: true, pty: true, encoding: ascii, env: {A: b}, shell: /bin/false, hide: false}
"""
"""What a person may have in ~/.fabric.yaml for other uses of Fabric."""


def test_settings_of_fabric_for_other_uses_change_no_connection(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lifecycle.begin(folder, "local", 1)
    host = FLEET.hosts[0]
    before = settings(Remote(folder, host))
    (tmp_path / ".fabric.yaml").write_text(ELSEWHERE)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert settings(Remote(folder, host)) == before


def settings(remote: Remote) -> tuple[object, ...]:
    """What a connection was made with."""
    made = remote._connection
    return made.gateway, made.connect_kwargs, made.inline_ssh_env, made.forward_agent, str(made.config)


def test_ssh_argv(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "a b", "default")
    assert ssh_argv(folder, "worker-1", ["sh", "-c", "echo '$HOME'", ""]) == [
        "ssh",
        "-F",
        f"{tmp_path}/a b/default/ssh_config",
        "worker-1",
        line(["sh", "-c", "echo '$HOME'", ""]),
    ]


def test_a_connection_of_ones_own_is_named_by_its_control_path(tmp_path: Path) -> None:
    folder, control = Folder(tmp_path / "f", "default"), tmp_path / "two words"
    head = ["ssh", "-F", str(folder.ssh_config)]
    own = [*head, "-S", str(control), "-o", "Ciphers=^aes128-gcm@openssh.com"]
    assert ssh_argv(folder, "hub", ["true"], control=control) == [*own, "hub", line(["true"])]
    assert shlex.split(rsync_shell(folder, control=control)) == own
    assert disconnect_argv(folder, "hub", control=control) == [*own, "-O", "exit", "hub"]
    assert disconnect_argv(folder, "hub") == [*head, "-O", "exit", "hub"]


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize(
    "text", ["", "one\n", "no end", "\n\ntwo\n\n", "é \N{SNOWMAN}\n", "%s \\n $HOME `id` '\"\n", "x" * 300_000]
)
def test_a_file_is_put_as_it_is(tmp_path: Path, shell: str, text: str) -> None:
    target, content = tmp_path / "new folder" / "it's", text.encode()
    argv = [shell, *put_argv(len(content), "640", str(os.getuid()), str(os.getgid()), str(target))[1:]]
    (tmp_path / ".fanrun-140537").write_text("left by an earlier version")
    (tmp_path / ".fanrun").mkdir()
    subprocess.run(argv, input=content, check=True, cwd=tmp_path)
    assert target.read_bytes() == content
    assert sorted(path.name for path in tmp_path.iterdir()) == [".fanrun", "new folder"]
    assert target.stat().st_mode & 0o777 == 0o640


def test_a_file_whose_text_does_not_arrive_whole_stays_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("old")
    argv = put_argv(10, "600", str(os.getuid()), str(os.getgid()), str(target))
    done = subprocess.run(argv, input=b"secret", capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (1, b"the text did not arrive whole\n")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("name", ["plain", "two  words", "it's", 'a "quote"', "100%", "back\\slash", "$HOME", "''"])
def test_rsync_takes_the_shell_apart_as_it_was_meant(tmp_path: Path, name: str) -> None:
    folder = Folder(tmp_path / name, "default")
    program = tmp_path / "stand-in"
    program.write_text(f'#!/bin/sh\nprintf "%s\\0" "$@" >{tmp_path}/argv\n')
    program.chmod(0o755)
    shell = str(program) + rsync_shell(folder).removeprefix("ssh")
    subprocess.run(["rsync", f"--rsh={shell}", "worker-1:/x", str(tmp_path)], capture_output=True, check=False)
    assert (tmp_path / "argv").read_text().split("\0")[:3] == ["-F", str(folder.ssh_config), "worker-1"]


@pytest.mark.parametrize("name", ["plain", "two words", "100%h %%", "it's"])
def test_fabric_finds_the_host_and_the_fleets_key(tmp_path: Path, name: str) -> None:
    folder = Folder(tmp_path / name, "default")
    folder.create()
    folder.save(FLEET)
    folder.host_keys.pin(
        "127.0.0.1", 2201, "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
    )
    connection = Remote(folder, FLEET.host("worker-1"))._connection
    assert (connection.host, connection.port, connection.user) == ("127.0.0.1", 2201, "admin")
    keys = connection.connect_kwargs["key_filename"]
    assert ([keys] if isinstance(keys, str) else keys) == [str(folder.key)]
    assert not connection.connect_kwargs["allow_agent"]
    assert not connection.connect_kwargs["look_for_keys"]
    assert isinstance(connection.client._policy, paramiko.RejectPolicy)
    assert "[127.0.0.1]:2201" in connection.client.get_host_keys()


def test_an_unreachable_host_is_named_with_its_address() -> None:
    host = FLEET.host("worker-1")
    error = unreachable(host, OSError("Connection\nrefused"))
    assert str(error) == "no SSH to 127.0.0.1:2201 (Connection refused)"
    assert error.host == "worker-1"
    assert str(unreachable(host, EOFError())) == "no SSH to 127.0.0.1:2201 (EOFError)"
    wrong = paramiko.BadHostKeyException("h", paramiko.RSAKey.generate(1024), paramiko.RSAKey.generate(1024))
    assert "its host key is not the pinned one" in str(unreachable(host, wrong))


@given(st.text(), st.integers(1, 100))
def test_shorten_is_one_line_of_that_length(text: str, most: int) -> None:
    short = shorten(text, most)
    assert len(short) <= most
    assert len(short.splitlines()) <= 1
    whole = " ".join(text.split())
    assert short == whole or short == whole[: most - 1] + "…"


# ---- the fan-out


def test_a_fan_out_keeps_every_result_and_every_error() -> None:
    def work(name: str) -> str:
        if name == "b":
            raise HostUnreachable("gone", host=name)
        return name.upper()

    results, errors = fan_out(["a", "b", "c"], work)
    assert results == {"a": "A", "c": "C"}
    assert {name: str(error) for name, error in errors.items()} == {"b": "gone"}
    assert fan_out([], work) == ({}, {})


@pytest.mark.parametrize("error", [ValueError("ours to see"), KeyboardInterrupt(), SystemExit(3)])
def test_a_foreign_error_is_raised_after_the_rest_ended(error: BaseException) -> None:
    go_on, ended = threading.Event(), list[str]()

    def work(name: str) -> None:
        if name == "a":
            threading.Timer(0.1, go_on.set).start()
            raise error
        assert go_on.wait(PATIENCE)
        ended.append(name)

    with pytest.raises(type(error)) as caught:
        fan_out(["a", "b", "c"], work)
    assert caught.value is error
    assert sorted(ended) == ["b", "c"]


def test_an_error_of_ours_lets_the_others_finish() -> None:
    go_on = threading.Event()

    def work(name: str) -> bool:
        if name == "a":
            threading.Timer(0.1, go_on.set).start()
            raise HostError("failed at once", host=name)
        return go_on.wait(PATIENCE)

    results, errors = fan_out(["a", "b", "c"], work)
    assert results == {"b": True, "c": True}
    assert list(errors) == ["a"]


@pytest.mark.parametrize(("count", "most"), [(12, 3), (3, 3), (2, 1), (2 * FAN_OUT, FAN_OUT)])
def test_so_many_run_at_once_and_no_more(count: int, most: int) -> None:
    """All stand still until `most` of them run, and a moment more in which others could begin."""
    lock, go_on, running, peak = threading.Lock(), threading.Event(), 0, 0

    def work(name: str) -> None:
        nonlocal running, peak
        with lock:
            running += 1
            peak = max(peak, running)
            if running == most:
                threading.Timer(0.1, go_on.set).start()
        assert go_on.wait(PATIENCE)
        with lock:
            running -= 1

    fan_out([str(n) for n in range(count)], work, most=most)
    assert peak == most


def test_hosts_that_failed_are_named_in_one_line() -> None:
    errors: dict[str, FanrunError] = {name: HostError(f"no {name}", host=name) for name in ("worker-2", "hub")}
    assert str(HostsFailed(errors)) == "hub: no hub; worker-2: no worker-2"
