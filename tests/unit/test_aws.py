"""What the EC2 provider is made of, without a cloud."""

from __future__ import annotations

import ast
import contextlib
import json
import re
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from fanrun.fleet.errors import ProviderError, UsageError
from provision import options
from provision.providers.ec2 import instance, network, prices
from provision.providers.ec2.api import Api, explain
from provision.providers.ec2.options import Ec2Options
from provision.providers.ec2.userdata import user_data

ROOT = Path(__file__).resolve().parents[2]
NOWHERE = "http://127.0.0.1:9/"


def called() -> set[str]:
    """Every action that the project's code calls, by the API's name for it."""
    found = set()
    for path in (ROOT / "provision").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                first = node.args[0]
                if node.func.attr in ("call", "all", "gone", "soon") and isinstance(first, ast.Constant):
                    found.add("".join(part.capitalize() for part in str(first.value).split("_")))
    return found


def test_the_policy_allows_what_is_called_and_nothing_else() -> None:
    """CreateTags is what tagging in the very call that creates asks for, and the first call is for STS."""
    policy = json.loads((ROOT / "docs" / "iam-policy.json").read_text())
    allowed = [action for statement in policy["Statement"] for action in statement["Action"]]
    assert len(allowed) == len(set(allowed))
    assert set(allowed) == {f"ec2:{action}" for action in called()} | {"ec2:CreateTags", "sts:GetCallerIdentity"}


def test_only_a_default_is_known_of_a_type_that_is_not_in_the_table() -> None:
    table = prices.load()
    known = table.hour("us-east-1", "c6i.large", 0)
    assert known == pytest.approx(0.085 + 0.005)
    assert table.hour("us-east-1", "c6i.large", 73) == pytest.approx(0.09 + 73 * 0.08 / 730)
    assert table.hour("us-east-1", "x99.huge", 30) is None
    assert table.hour("mars-north-1", "c6i.large", 30) is None
    assert prices.total([1.0, None]) is None
    assert prices.total([]) == 0
    assert [prices.dollars(each) for each in (None, 0.5, 0.0123)] == ["unknown", "$0.50", "$0.0123"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", table.date)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"date": 1}', '{"date": "x", "regions": 3}'])
def test_a_price_table_that_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "prices"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"is an example"):
        prices.load(str(path))
    with pytest.raises(UsageError, match="No such file"):
        prices.load(str(tmp_path / "nowhere"))


def test_where_the_own_address_is_not_told_another_must_be_named() -> None:
    assert network.allowed("203.0.113.7/32, 198.51.100.0/24", NOWHERE) == ("", ["203.0.113.7/32", "198.51.100.0/24"])
    with pytest.raises(UsageError, match="name it with --allow"):
        network.allowed("", NOWHERE)


@pytest.mark.parametrize("allow", ["me", "1.2.3.4/33", "1.2.3.4/24", "::1/128", "1.2.3.4;5.6.7.8"])
def test_what_is_no_network(allow: str) -> None:
    with pytest.raises(UsageError, match=r"203\.0\.113\.7/32"):
        network.allowed(allow, NOWHERE)


def test_user_data_is_one_document_and_small() -> None:
    text = user_data("fanrun", "ssh-ed25519 AAAA me", ("PRIVATE\nKEY\n", "ssh-ed25519 BBBB"), 3600, spot=False)
    assert text.startswith("#cloud-config\n")
    assert len(text) < 16384, "Amazon's limit"
    document = json.loads(text.partition("\n")[2])
    assert document["ssh_keys"] == {"ed25519_private": "PRIVATE\nKEY\n", "ed25519_public": "ssh-ed25519 BBBB"}
    assert document["users"][0]["ssh_authorized_keys"] == ["ssh-ed25519 AAAA me"]
    assert document["bootcmd"][-1][-3:] == ["/var/lib/fanrun.lease", "3600", "/run/fanrun.watch"]
    spot = json.loads(user_data("fanrun", "ssh-ed25519 AAAA me", ("P", "B"), 3600, spot=True).partition("\n")[2])
    assert spot["bootcmd"][-1] == ["touch", "/run/fanrun.spot"]


@pytest.mark.parametrize(
    ("code", "expected", "kind"),
    [
        ("UnauthorizedOperation", r"ec2:RunInstances; docs/iam-policy\.json", ProviderError),
        ("VcpuLimitExceeded", "https://console.aws.amazon.com/servicequotas", ProviderError),
        ("ExpiredToken", "have expired; `aws configure`", UsageError),
        ("AuthFailure", "does not accept these credentials", UsageError),
        ("Unsupported", "--instance-type or --region another", ProviderError),
        ("InsufficientInstanceCapacity", "--min-hosts", ProviderError),
        ("SomethingNew", r"ec2:RunInstances: what Amazon says \(SomethingNew\)$", ProviderError),
    ],
)
def test_an_error_of_the_api_names_the_next_step(code: str, expected: str, kind: type[Exception]) -> None:
    error = explain("ec2:RunInstances", ClientError({"Error": {"Code": code, "Message": "what\nAmazon says."}}, "x"))
    assert isinstance(error, kind)
    assert re.search(expected, str(error))
    assert "\n" not in str(error)


def test_without_a_region_or_with_a_profile_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    with pytest.raises(UsageError, match="give --region"):
        Api("")
    assert Api("eu-central-1").region == "eu-central-1"
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    assert Api("").region == "eu-north-1"
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(UsageError, match="list-profiles"):
        Api("eu-central-1")


def test_options() -> None:
    assert options.parse(Ec2Options, {}) == Ec2Options()
    texts = {"profile": "work", "owner": "ann", "subnet": "subnet-0a", "allow": "1.2.3.4/32", "prices": "file"}
    assert all(getattr(options.parse(Ec2Options, texts), name) == text for name, text in texts.items())
    given = {"region": "eu-central-1", "spot": "True", "disk": "100", "ttl": "2d", "min_hosts": "3", "ami": "ami-0a"}
    found = options.parse(Ec2Options, given)
    assert (found.region, found.spot, found.disk, found.ttl, found.min_hosts) == ("eu-central-1", True, 100, 172800, 3)
    assert found.ami == "ami-0a"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("region", "frankfurt", "eu-central-1"),
        ("instance_type", "large", r"--instance-type 'large' is none; they look like c6i\.large"),
        ("ami", "debian", "ami-0123456789abcdef0"),
        ("spot", "perhaps", "true or false"),
        ("disk", "4", "from 8"),
        ("ttl", "5", "10m or more"),
        ("ttl", "-4h", "10m or more"),
        ("ttl", "4y", "10m or more"),
        ("min_hosts", "0", "--min-hosts=0"),
    ],
)
def test_an_option_that_can_not_be_used(name: str, value: str, expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        options.parse(Ec2Options, {name: value})


@given(st.dictionaries(st.sampled_from(sorted(options.fields_of(Ec2Options))), st.text()))
def test_any_option_is_understood_or_refused(given_: dict[str, str]) -> None:
    with contextlib.suppress(UsageError):
        options.parse(Ec2Options, given_)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("Server.SpotInstanceTermination", "ended by Amazon: spot interruption"),
        ("Server.SpotInstanceShutdown", "ended by Amazon: spot interruption"),
        ("Client.InstanceInitiatedShutdown", "ended itself"),
        ("Client.InternalError", "something, often as the key of its volumes may not be used: .*KMS"),
        ("Server.InternalError", "is terminated: Server.InternalError: something"),
    ],
)
def test_why_an_instance_is_gone(code: str, expected: str) -> None:
    item = {"State": {"Name": "terminated"}, "StateReason": {"Code": code, "Message": f"{code}: something"}}
    assert re.search(expected, instance.termination_reason(item))
    assert "`fab up`" in instance.termination_reason(item)


@given(st.sets(st.integers(1, 1000)))
def test_names_in_a_tag(numbers: set[int]) -> None:
    names = [f"worker-{number}" for number in sorted(numbers)]
    assert instance.unpacked(instance.packed(names)) == names
    assert instance.packed([f"worker-{number}" for number in range(1, 1001)]) == "worker-1..1000"
    assert instance.unpacked(instance.packed(["hub"])) == ["hub"]


def test_an_instance_has_the_name_at_its_place() -> None:
    tags = instance.name_tags("worker", ["worker-2", "worker-5"], "shown")
    found = [instance.name({"Tags": tags, "AmiLaunchIndex": place, "InstanceId": "i-1"}) for place in range(3)]
    assert found == ["worker-2", "worker-5", "i-1"]
    assert instance.name({"InstanceId": "i-2"}) == "i-2"
