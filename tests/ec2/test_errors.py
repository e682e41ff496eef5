"""What goes wrong at Amazon is one line with the next step, and leaves nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.ec2.calls import Fault
from tests.ec2.cloud import Cloud
from tests.ec2.test_removal import nothing
from tests.fleet.harness import Fab

pytestmark = pytest.mark.long

UP = ("up", "--hosts=1", "--provider=ec2", "--allow=192.0.2.0/24")
QUOTAS = "https://console.aws.amazon.com/servicequotas"


class Case(NamedTuple):
    """A call, what it is answered with, the exit code and a pattern of the line that is told."""

    action: str
    code: str
    exit: int
    line: str
    status: int = 400


CASES = [
    Case("RunInstances", "VcpuLimitExceeded", 1, f"quota of vCPUs is used up; ask for more at {QUOTAS}"),
    Case("RunInstances", "InstanceLimitExceeded", 1, f"quota of instances is used up; ask for more at {QUOTAS}"),
    Case("RunInstances", "MaxSpotInstanceCountExceeded", 1, f"quota of spot instances is used up; .* {QUOTAS}"),
    Case("RunInstances", "VolumeLimitExceeded", 1, f"quota of volumes is used up; ask for more at {QUOTAS}"),
    Case("CreateSecurityGroup", "SecurityGroupLimitExceeded", 1, f"quota of security groups .* {QUOTAS}"),
    Case("RunInstances", "VPCIdNotSpecified", 1, "no default VPC; name a subnet with --subnet"),
    Case("DescribeVpcs", "DefaultVpcDoesNotExist", 1, "no default VPC; name a subnet with --subnet"),
    Case("RunInstances", "Unsupported", 1, "no such instance type; --instance-type or --region another"),
    Case("RunInstances", "InvalidParameterValue", 1, "InvalidParameterValue.*; .*--instance-type"),
    Case("DescribeInstanceTypes", "InvalidInstanceType", 1, "`aws ec2 describe-instance-types` shows them"),
    Case("GetCallerIdentity", "InvalidClientTokenId", 2, "does not know these credentials; `aws configure`", 403),
    Case("GetCallerIdentity", "ExpiredToken", 2, "the credentials have expired; `aws configure`", 403),
    Case("GetCallerIdentity", "SignatureDoesNotMatch", 2, "secret key is wrong, or this machine's clock", 403),
    Case("GetCallerIdentity", "RequestExpired", 2, "expired, or this machine's clock is wrong"),
    Case("DescribeInstances", "RequestExpired", 2, "expired, or this machine's clock is wrong"),
    Case("DescribeInstances", "AuthFailure", 2, "does not accept these credentials.*--region another", 401),
    Case("DescribeInstances", "OptInRequired", 1, "may not use this region; enable it", 401),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.action}-{case.code}")
def test_a_call_that_fails(api: Cloud, tmp_path: Path, case: Case) -> None:
    def fail(called: str, arguments: dict[str, str]) -> None:
        if called == case.action:
            raise Fault(case.code, status=case.status)

    fab = Fab(tmp_path / "home", "sky", environment=api.environment)
    api.before = fail
    told(fab, case.exit, case.line)
    assert api.alive() == {}
    api.before = nothing
    fab("down", "--provider=ec2")
    assert api.left("sky") == []


def told(fab: Fab, code: int, line: str, **environment: str) -> None:
    """`fab up` ends so, with this one line."""
    errors = [each for each in fab(*UP, code=code, **environment).stderr.splitlines() if each.startswith("error:")]
    assert len(errors) == 1
    assert re.search(line, errors[0]), errors[0]


def test_without_a_default_vpc(api: Cloud, tmp_path: Path) -> None:
    for vpc in api.backend.vpcs.values():
        vpc.is_default = False
    fab = Fab(tmp_path / "home", "sky", environment=api.environment)
    told(fab, 2, "no default VPC; name a subnet with --subnet")
    fab("down", "--provider=ec2")
    assert api.left("sky") == []


def test_without_credentials(api: Cloud, tmp_path: Path) -> None:
    environment = {**api.environment, "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    fab = Fab(tmp_path / "home", "sky", environment=environment)
    told(fab, 2, "there are no AWS credentials here; `aws configure`", AWS_EC2_METADATA_DISABLED="true")
    assert api.calls == []


def test_in_a_region_that_is_none(api: Cloud, tmp_path: Path) -> None:
    """Its name has no address."""
    fab = Fab(tmp_path / "home", "sky", environment=api.environment)
    nowhere = {"AWS_ENDPOINT_URL": "http://ec2.eu-nowhere-1.invalid", "AWS_REGION": "eu-nowhere-1", "NO_PROXY": "*"}
    told(fab, 1, "Amazon can't be reached: .*eu-nowhere-1.*; check the network and --region", **nowhere)
