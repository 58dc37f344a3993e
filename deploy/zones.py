"""Two Availability Zones that have everything the network of an environment needs; once chosen, an environment keeps them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from deploy.artifacts import ROOT
from deploy.stacks import describe

TEMPLATE = ROOT / "infra" / "mwaa.yaml"
SERVICE = re.compile(r'ServiceName: !Sub "com\.amazonaws\.\$\{AWS::Region\}\.([\w.]+)"')
PARAMETERS = ("ZoneA", "ZoneB")


class ZoneError(RuntimeError):
    """A region has no two zones that do; the message names what is missing where."""


def endpoint_services(region: str) -> list[str]:
    """Return the names of all endpoint services that infra/mwaa.yaml asks for in a region."""
    return [f"com.amazonaws.{region}.{name}" for name in SERVICE.findall(TEMPLATE.read_text(encoding="utf-8"))]


def standing_zones(session: Any, stack: str) -> dict[str, str]:
    """Return the zones of an environment that exists: other ones would replace its subnets, and so the environment."""
    found = describe(session, stack) or {}
    parameters = {item["ParameterKey"]: item.get("ParameterValue", "") for item in found.get("Parameters", [])}
    return {name: parameters[name] for name in PARAMETERS if parameters.get(name)}


def choose(region: str, zones: list[str], offered: Mapping[str, list[str]], needed: list[str]) -> dict[str, str]:
    """Return two zones in which every service is offered.

    Args:
        region: for the message.
        zones: the zones that are open to this account, by name.
        offered: for each endpoint service of the region the names of its zones.
        needed: names of the services that must be there.

    Raises:
        ZoneError: there are no two; each service that is missing is named with the zones that lack it.

    """
    good = [zone for zone in sorted(zones) if all(zone in offered.get(name, ()) for name in needed)]
    if len(good) >= 2:
        return dict(zip(PARAMETERS, good, strict=False))
    lacking = [
        f"{name} is missing in {', '.join(missing)}"
        for name in needed
        if (missing := [zone for zone in sorted(zones) if zone not in offered.get(name, ())])
    ]
    raise ZoneError(
        f"region {region} has {len(good)} zone(s) with all {len(needed)} endpoint services, two are needed: "
        f"{'; '.join(lacking) or 'it has only ' + ', '.join(sorted(zones))}. Choose another region, or Egress: nat"
    )


def find(session: Any, egress: str) -> dict[str, str]:
    """Ask the account for its zones and their endpoint services, and choose two.

    Raises:
        ZoneError: there are no two, or the account does not say.

    """
    ec2, region = session.client("ec2"), session.region_name
    try:
        found = ec2.describe_availability_zones(
            Filters=[
                {"Name": "state", "Values": ["available"]},
                {"Name": "zone-type", "Values": ["availability-zone"]},
            ]
        )["AvailabilityZones"]
        zones = [zone["ZoneName"] for zone in found]
        if egress != "endpoints":
            return choose(region, zones, {}, [])
        details = [
            item
            for page in ec2.get_paginator("describe_vpc_endpoint_services").paginate()
            for item in page["ServiceDetails"]
        ]
    except ClientError as error:
        raise ZoneError(
            f"the zones of {region} cannot be looked at: {error}. The caller needs ec2:DescribeAvailabilityZones and "
            "ec2:DescribeVpcEndpointServices; or name ZoneA and ZoneB under environment: in the deployment's file"
        ) from error
    gateways = {item["ServiceName"] for item in details if _is_gateway(item)}
    offered = {item["ServiceName"]: item.get("AvailabilityZones", []) for item in details if not _is_gateway(item)}
    return choose(region, zones, offered, [name for name in endpoint_services(region) if name not in gateways])


def _is_gateway(service: Mapping[str, Any]) -> bool:
    kinds = {item["ServiceType"] for item in service.get("ServiceType", [])}
    return "Gateway" in kinds and "Interface" not in kinds
