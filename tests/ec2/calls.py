"""Calls of the EC2 API as the stand-in reads them: who may make them, and the errors that answer them."""

from __future__ import annotations

import json
from urllib.parse import urlencode

from werkzeug.wrappers import Request

from tests.fleet.harness import ROOT

ROOT_KEY = "root"


ERROR = """<?xml version="1.0" encoding="UTF-8"?>
<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors><RequestID>1</RequestID></Response>
"""


POLICY = frozenset(
    action
    for statement in json.loads((ROOT / "docs" / "iam-policy.json").read_text())["Statement"]
    for action in statement["Action"]
)
"""What may be called here: no more than Fanrun asks its users for."""
CALLS_OF_UP = (
    "GetCallerIdentity",
    "DescribeKeyPairs",
    "DescribeInstances",
    "ImportKeyPair",
    "DescribeVpcs",
    "DescribeSecurityGroups",
    "CreateSecurityGroup",
    "AuthorizeSecurityGroupIngress",
    "DescribeInstanceTypes",
    "DescribeImages",
    "RunInstances",
)
"""The calls of an `up` before it goes on by SSH, where nothing answers unless instances have bodies."""


class Fault(Exception):
    """What a call is answered with instead: an error of the API."""

    def __init__(self, code: str, message: str = "", status: int = 400) -> None:
        super().__init__(code)
        self.code, self.message, self.status = code, message or f"{code}, says the test", status


def signed(request: Request) -> tuple[str, str]:
    """The access key that a call is signed with, and the service that it is for."""
    key, _, _, service, _ = request.headers["Authorization"].split("Credential=")[1].split(",")[0].split("/")
    return key, service


def without_snapshot_tags(arguments: dict[str, str]) -> tuple[str, dict[str, str]]:
    """The call's body without the tags for snapshots, and these."""
    prefix = next(key.rpartition(".")[0] + "." for key, value in arguments.items() if value == "snapshot")
    pairs = {key.removeprefix(prefix): value for key, value in arguments.items() if key.startswith(prefix + "Tag")}
    tags = {value: pairs[key.replace("Key", "Value")] for key, value in pairs.items() if key.endswith("Key")}
    return urlencode({key: value for key, value in arguments.items() if not key.startswith(prefix)}), tags
