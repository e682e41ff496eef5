"""A network, GPUs and a platform for the program, on real hosts."""

from __future__ import annotations

from tests.fleet.harness import Runs, report

LINKS = "ls /sys/class/net | sort | tr '\\n' ' '"
ASKS = "nc -w 5 $HUB 22 </dev/null | head -c 8"
BOTH = f'for f in *; do {{ {LINKS}; echo "$({ASKS})"; }} >$1/$f; done'.replace("'", "'\"'\"'")


def test_a_network_is_there_when_it_is_named(runs: Runs) -> None:
    runs.write("a", "b")
    hub = f"--env=HUB={runs.fab.on('hub', 'hostname -I').split()[0]}"
    looks = dict.fromkeys("ab", "lo")
    runs(BOTH, hub)
    assert runs.results() == looks, "none, except loopback"
    runs(BOTH, hub, "--network=bridge")
    assert runs.results() == dict.fromkeys("ab", "eth0 lo SSH-2.0-"), "another network is another program"
    runs.again(BOTH, hub, "--network=bridge")


def test_a_network_of_a_name_has_to_be_there(runs: Runs) -> None:
    runs.write("a", "b")
    runs.fab.on("worker-2", "docker network create fanrun-test-net")
    try:
        told = runs(BOTH, "--network=fanrun-test-net", "--env=HUB=127.0.0.1")
        assert "worker-1 can't take part: its Docker can't use --network fanrun-test-net (" in told
        assert runs.results() == dict.fromkeys("ab", "eth0 lo")
        assert [worker["name"] for worker in report(runs.dst)["workers"] if worker["done"]] == ["worker-2"]
    finally:
        runs.fab.on("worker-2", "docker network rm fanrun-test-net")


def test_gpus_need_nvidias_toolkit(runs: Runs) -> None:
    runs.write("a", "b")
    told = runs(BOTH, "--gpus=all", code=2)
    assert "worker-1 can't take part: it has no NVIDIA Container Toolkit, which --gpus needs; install" in told


def test_a_platform_has_to_be_that_of_the_image(runs: Runs) -> None:
    runs.write("a", "b")
    told = runs("cp * $1", "--platform=linux/s390x", code=2)
    assert f"image '{runs.shell}' is for linux/" in told
    assert f"not for linux/s390x; get the other one with `docker pull --platform linux/s390x {runs.shell}`" in told
    its = "linux/" + told.split("is for linux/")[1].split(",")[0]
    runs("cp * $1", f"--platform={its}")
    assert runs.results() == {"a": "a", "b": "b"}
