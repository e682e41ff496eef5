"""Calls of Amazon's API, their errors told as ours with the next step."""

from __future__ import annotations

import copy
import functools
import os
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar

import boto3
from botocore.client import BaseClient
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConfigNotFound,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)
from botocore.parsers import ResponseParserError

from fanrun.fleet.errors import FanrunError, ProviderError, UsageError
from fanrun.fleet.poll import RetryPolicy, retry

T = TypeVar("T")
LAG = 60.0
"""Seconds for which Amazon may not yet know everywhere what was just made, or list it."""
PAUSE = 2.0
"""Seconds between two questions about something that Amazon is doing."""
SHOWN = 120
"""So many characters are shown of an answer that nobody understands."""
FINAL = ("InsufficientInstanceCapacity", "InsufficientCapacity", "InsufficientHostCapacity")
"""Failures on Amazon's side that are not over in seconds: told at once, not tried again in silence."""
FRESH = (
    "InvalidKeyPair.NotFound",
    "InvalidGroup.NotFound",
    "InvalidGroupId.NotFound",
    "InvalidSecurityGroupID.NotFound",
    "InvalidKeyPair.Duplicate",
)
"""What is said of a key pair or group that was made, or removed, a moment ago."""
POLICY = "docs/iam-policy.json"
QUOTAS = "https://console.aws.amazon.com/servicequotas/home/services/ec2/quotas"
# "standard" tries again what was throttled or failed on Amazon's side, after a time that grows, with jitter:
# https://boto3.amazonaws.com/v1/documentation/api/latest/guide/retries.html
CONFIG = Config(retries={"mode": "standard", "total_max_attempts": 10}, connect_timeout=10, read_timeout=60)
FIRST = CONFIG.merge(Config(retries={"mode": "standard", "total_max_attempts": 3}))
"""For the call before all others: a region that is none, or a network that is away, is told soon."""

NO_LOGIN = "`aws configure` or `aws sso login` gives you some, AWS_PROFILE chooses among them"
NO_VPC = "the region has no default VPC; name a subnet with --subnet, or make one: `aws ec2 create-default-vpc`"
ADVICE = {
    "AuthFailure": "Amazon does not accept these credentials, or not in this region, which the account has to enable; "
    f"--region another, or {NO_LOGIN}",
    "InvalidClientTokenId": f"Amazon does not know these credentials; {NO_LOGIN}",
    "SignatureDoesNotMatch": f"the secret key is wrong, or this machine's clock; {NO_LOGIN}",
    "ExpiredToken": f"the credentials have expired; {NO_LOGIN}",
    "RequestExpired": f"the credentials have expired, or this machine's clock is wrong; {NO_LOGIN}",
    "OptInRequired": "the account may not use this region; enable it in the account's settings, or --region another",
    "VPCIdNotSpecified": NO_VPC,
    "DefaultVpcDoesNotExist": NO_VPC,
    "MissingInput": "the default VPC has no subnet for this; name one with --subnet",
    "InvalidSubnetID.NotFound": "there is no such subnet in this region; `aws ec2 describe-subnets` shows them",
    "InsufficientInstanceCapacity": "Amazon has not so many of them now; try --min-hosts with fewer, another "
    "--instance-type, another --subnet, or later",
    "InsufficientFreeAddressesInSubnet": "the subnet is full; name another with --subnet",
    "InstanceLimitExceeded": f"your quota of instances is used up; ask for more at {QUOTAS}",
    "VcpuLimitExceeded": f"your quota of vCPUs is used up; ask for more at {QUOTAS}",
    "MaxSpotInstanceCountExceeded": f"your quota of spot instances is used up; ask for more at {QUOTAS}",
    "SpotMaxPriceTooLow": "the spot price is above the usual one now; leave --spot out",
    "AuthFailure.ServiceLinkedRoleCreationNotPermitted": "the account never used spot instances: "
    "`aws iam create-service-linked-role --aws-service-name spot.amazonaws.com` once, by someone who may",
    "SecurityGroupLimitExceeded": f"your quota of security groups is used up; remove some, or ask for more at {QUOTAS}",
    "VolumeLimitExceeded": f"your quota of volumes is used up; ask for more at {QUOTAS}",
    "InvalidInstanceType": "there is no such instance type; `aws ec2 describe-instance-types` shows them",
    "InvalidParameterValue": "another --instance-type, --ami, --disk or --subnet may fit",
    "InvalidParameterCombination": "another --instance-type, --ami, --disk or --subnet may fit",
    "Unsupported": "the region, or the subnet's zone, has no such instance type; --instance-type or --region another",
    "InvalidAMIID.NotFound": "there is no such image in this region; leave --ami out to have Debian's newest",
    "InvalidAMIID.Malformed": "that is no image's name; they look like ami-0123456789abcdef0",
    "RequestLimitExceeded": "Amazon wants fewer calls a second; try again in a minute",
}
"""What to do about an error, by its code: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html"""


class ApiError(ProviderError):
    """A call failed; `code` is Amazon's name for the reason, `refused` whether it is sure that nothing came of it."""

    def __init__(self, message: str, *, code: str, refused: bool = False) -> None:
        super().__init__(message, provider="ec2")
        self.code, self.refused = code, refused


class Answer(dict[str, Any]):
    """What a call was answered, and each part of it; ApiError for a part that should be there and is not."""

    def __init__(self, action: str, parts: Mapping[str, Any]) -> None:
        super().__init__({key: _answer(action, value) for key, value in parts.items()})
        self._action = action

    def __missing__(self, key: str) -> NoReturn:
        raise strange(self._action, f"there is no {key} in it")


class Api:
    """One region's EC2, as boto3 reaches it."""

    def __init__(self, region: str, profile: str = "") -> None:
        """Raises UsageError when no region or profile can be meant; calls nothing."""
        try:
            # boto3 knows AWS_DEFAULT_REGION; Amazon's other tools prefer AWS_REGION.
            session = boto3.session.Session(
                region_name=region or os.environ.get("AWS_REGION") or None, profile_name=profile or None
            )
            self._session = session
            self._connect(session.region_name)
            self._first = session.client("sts", config=FIRST)
        except (ProfileNotFound, ConfigNotFound) as error:
            raise UsageError(f"{error}; `aws configure list-profiles` shows the ones there are") from error
        except NoRegionError as error:
            raise UsageError("no region is named; give --region, or set AWS_REGION") from error
        except (BotoCoreError, ValueError) as error:
            raise UsageError(f"AWS can't be used: {error}") from error

    def _connect(self, region: str | None) -> None:
        self._client: BaseClient = self._session.client("ec2", region, config=CONFIG)
        self._client.meta.events.register_first("needs-retry.ec2", _final)
        self.region: str = self._client.meta.region_name

    @functools.cached_property
    def account(self) -> str:
        """Return the account that the credentials belong to."""
        action = "sts:GetCallerIdentity"
        return str(_called(action, self._first.get_caller_identity)["Account"])

    def in_region(self, region: str) -> Api:
        """Return the same account's API of another region."""
        other = copy.copy(self)
        other._connect(region)
        return other

    def call(self, action: str, **arguments: object) -> dict[str, Any]:
        """Call an action by its name in Python (run_instances); ApiError or UsageError if it fails."""
        return _called(_name(action), lambda: getattr(self._client, action)(**arguments))

    def all(self, action: str, key: str, **arguments: object) -> list[dict[str, Any]]:
        """Return everything that a describing action lists under `key`, page after page where it has pages."""
        if not self._client.can_paginate(action):
            return list(self.call(action, **arguments)[key])
        pages = self._client.get_paginator(action).paginate(**arguments)
        found = _told(_name(action), lambda: list(pages))
        return [item for page in found for item in Answer(_name(action), page)[key]]

    def soon(self, action: str, **arguments: object) -> dict[str, Any]:
        """Call an action that needs what was just made; for LAG seconds it may not be known there yet."""

        def is_fresh(error: Exception) -> bool:
            return isinstance(error, ApiError) and error.code in FRESH

        return retry(lambda: self.call(action, **arguments), is_fresh, RetryPolicy(LAG, PAUSE))

    def gone(self, action: str, *codes: str, **arguments: object) -> bool:
        """Call an action that removes something; False if it was not there, which `codes` say."""
        try:
            self.call(action, **arguments)
        except ApiError as error:
            if error.code in codes:
                return False
            raise
        return True


def _final(response: tuple[Any, dict[str, Any]] | None, **_: object) -> None:
    """Let boto3 take such an answer for the caller's matter: of Amazon's own failures it makes up to ten attempts."""
    if response is not None and response[1].get("Error", {}).get("Code") in FINAL:
        response[0].status_code = 409


def _name(action: str) -> str:
    """Return the name that an action of EC2 has in policies: run_instances -> ec2:RunInstances."""
    return "ec2:" + "".join(part.capitalize() for part in action.split("_"))


def _told(action: str, call: Callable[[], T]) -> T:
    try:
        return call()
    except ClientError as error:
        raise explain(action, error) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise UsageError(f"there are no AWS credentials here; {NO_LOGIN}") from error
    except (TokenRetrievalError, UnauthorizedSSOTokenError) as error:
        raise UsageError(f"the login has expired; {NO_LOGIN}") from error
    except BotoCoreError as error:
        raise ApiError(f"Amazon can't be reached: {error}; check the network and --region", code="") from error
    except (ResponseParserError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise strange(action, str(error)) from error


def _called(action: str, call: Callable[[], Mapping[str, Any]]) -> Answer:
    return Answer(action, _told(action, call))


def _answer(action: str, value: object) -> object:
    """Return a part of an answer as Answer, with all parts of it."""
    if isinstance(value, Mapping):
        return Answer(action, value)
    return [_answer(action, item) for item in value] if isinstance(value, list) else value


def strange(action: str, why: str) -> ApiError:
    """Return the error for a call that was not answered by Amazon: by a proxy, a login page, or another server."""
    line = " ".join(why.split())
    return ApiError(
        f"{action} was not answered as Amazon does ({line[:SHOWN]}{'…' if len(line) > SHOWN else ''}); look at the "
        "proxy (HTTPS_PROXY), at AWS_ENDPOINT_URL, and at the login to this network",
        code="",
    )


def explain(action: str, error: ClientError) -> FanrunError:
    """Return an error of the API as ours: the action (ec2:RunInstances), what Amazon says, and the next step."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    said = " ".join(str(error.response.get("Error", {}).get("Message", "")).split()).rstrip(".")
    if code in ("UnauthorizedOperation", "AccessDenied", "Client.UnauthorizedOperation"):
        return ApiError(
            f"you may not call {action}; {POLICY} holds the least policy that Fanrun needs", code=code, refused=True
        )
    advice = ADVICE.get(code, "")
    if code in ("AuthFailure", "ExpiredToken", "RequestExpired", "InvalidClientTokenId", "SignatureDoesNotMatch"):
        return UsageError(advice)
    # Of what failed at Amazon's side something may have come, but not of what it had no room for.
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    refused = 400 <= status < 500 or code in FINAL
    return ApiError(
        f"{action}: {said or code} ({code})" + (f"; {advice}" if advice else ""), code=code, refused=refused
    )
