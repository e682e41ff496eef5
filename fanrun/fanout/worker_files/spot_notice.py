"""Print "notice ACTION TIME" if Amazon has announced the end of this spot instance, else nothing.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
"""

from __future__ import annotations

import http.client
import json

METADATA = "169.254.169.254"
SECONDS = 1.5


def ask(method: str, path: str, header: str, value: str) -> str:
    """Return what the instance metadata service answers; OSError for an error, as 404 where there is no notice."""
    connection = http.client.HTTPConnection(METADATA, timeout=SECONDS)
    try:
        connection.request(method, f"/latest/{path}", headers={header: value})
        answer = connection.getresponse()
        if answer.status != http.HTTPStatus.OK:
            raise OSError(answer.reason)
        return str(answer.read(10_000), "utf-8")
    finally:
        connection.close()


def notice() -> str:
    """Return "ACTION TIME" of the notice, "" if there is none."""
    try:
        token = ask("PUT", "api/token", "X-aws-ec2-metadata-token-ttl-seconds", "60")
        told = json.loads(ask("GET", "meta-data/spot/instance-action", "X-aws-ec2-metadata-token", token))
        return "{action} {time}".format(**told)
    except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError):
        return ""


if __name__ == "__main__":
    if text := notice():
        print("notice", text)
