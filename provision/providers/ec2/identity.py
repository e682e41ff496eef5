"""Who the AWS credentials of this machine belong to, asked without waiting long."""

from __future__ import annotations

import os
from typing import NamedTuple

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from fanrun.fleet.errors import ProviderError
from provision.providers.ec2.api import NO_LOGIN

QUICK = Config(retries={"total_max_attempts": 1}, connect_timeout=3, read_timeout=3)
USUAL_REGION = "us-east-1"
"""Where STS is asked if no region is named: it knows the credentials of every region."""


class Identity(NamedTuple):
    """Whose credentials there are, and the region that is used without --region; "" if there is none."""

    arn: str
    account: str
    region: str


def find_identity(region: str = "", profile: str = "") -> Identity | None:
    """Return who this machine is to AWS; None if it has no credentials.

    Raises ProviderError for credentials or settings that can't be used, and where AWS does not answer.
    """
    try:
        named = region or os.environ.get("AWS_REGION") or None
        session = boto3.session.Session(region_name=named, profile_name=profile or None)
        if session.get_credentials() is None:
            return None
        client = session.client("sts", region_name=session.region_name or USUAL_REGION, config=QUICK)
        answer = client.get_caller_identity()
    except ClientError as error:
        said = str(error.response.get("Error", {}).get("Message", "")) or str(error)
        raise ProviderError(
            f"AWS does not accept the credentials ({said.rstrip('.')}); {NO_LOGIN}", provider="ec2"
        ) from error
    except (BotoCoreError, ValueError) as error:
        raise ProviderError(f"{error}; check the network and the AWS settings", provider="ec2") from error
    return Identity(str(answer.get("Arn", "")), str(answer.get("Account", "")), session.region_name or "")
