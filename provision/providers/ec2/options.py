"""The options of provider ec2."""

from __future__ import annotations

from dataclasses import dataclass

from fanrun.fleet.config import MAX_HOSTS
from provision.options import ProviderOptions, duration, file, option, pattern, switch, text, whole_number

TYPE = r"[a-z0-9-]+\.[a-z0-9-]+"
"""What types of instances look like."""


@dataclass(frozen=True)
class Ec2Options(ProviderOptions):
    """Hold where instances are launched, and what they are; "" and 0 leave the choice to Amazon's or to our defaults.

    `disk` is in GiB, `ttl` and `boot_timeout` are in seconds, `allow` has networks with commas between them.
    """

    account: str = option(
        pattern(r"[0-9]{12}", "123456789012"), "the number of the AWS account", tasks=(), places_fleet=True
    )
    region: str = option(
        pattern(r"[a-z]{2}(-[a-z]+)+-[0-9]", "eu-central-1"),
        "EC2: the region (default: the one of your AWS settings)",
        tasks=("up", "down", "bake"),
        places_fleet=True,
    )
    profile: str = option(text(), "the profile of your AWS settings", tasks=(), places_fleet=True)
    instance_type: str = option(
        pattern(TYPE, "c6i.large"), "EC2: what workers are (default: c6i.large, or c7g.large if this machine is an ARM)"
    )
    hub_type: str = option(pattern(TYPE, "t3.small"), "EC2: what the hub is (default: t3.small or t4g.small)")
    ami: str = option(
        pattern(r"ami-[0-9a-f]+", "ami-0123456789abcdef0"),
        "EC2: the image that hosts start from (default: Debian's newest)",
    )
    subnet: str = option(
        pattern(r"subnet-[0-9a-f]+", "subnet-0123456789abcdef0"), "EC2: the subnet (default: one of the default VPC)"
    )
    allow: str = option(
        text(), "EC2: networks that may reach SSH besides this machine, as 203.0.113.0/24,198.51.100.7/32"
    )
    prices: str = option(file(), "EC2: a file of prices to reckon with (default: provision/providers/ec2/prices.json)")
    spot: bool = option(switch(), "EC2: workers at the spot price, that Amazon may end at any time")
    disk: int = option(whole_number(30, 8, 16384), "EC2: GiB of disk a host (default: 30)")
    ttl: int = option(
        duration(4 * 3600, 600),
        "EC2: time after the last fab command when hosts end themselves, as 90m, 4h or 2d (default: 4h)",
    )
    boot_timeout: int = option(
        whole_number(300, 10, 7200),
        "seconds that an instance may take until it answers by SSH (default: 300)",
        tasks=(),
    )
    min_hosts: int = option(
        whole_number(0, 1, MAX_HOSTS),
        "EC2: be content with so many workers if Amazon has no more (default: all or none)",
    )


OPTIONS = Ec2Options
