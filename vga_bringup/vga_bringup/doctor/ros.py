"""The ROS environment of this shell."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from importlib import import_module

from vga_bringup.doctor.finding import Finding, Health

ENVIRONMENT = 'eval "$(make -s env)" in the checkout'
PROFILE = "FASTRTPS_DEFAULT_PROFILES_FILE"


def environment() -> Iterator[Finding]:
    """rclpy, our messages, and Fast DDS under them."""
    for module in ("rclpy", "vga_msgs.msg"):
        try:
            import_module(module)
        except Exception as error:  # a broken installation fails in many ways
            yield Finding("ROS 2", Health.MISSING, f"{module}: {error}", ENVIRONMENT)
            return
    middleware = os.environ.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp")
    reach = os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET")
    domain = os.environ.get("ROS_DOMAIN_ID", "0")
    seen = f"{os.environ.get('ROS_DISTRO', 'jazzy')}, {middleware}, domain {domain}, discovery {reach}"
    if middleware == "rmw_fastrtps_cpp":
        yield Finding("ROS 2", Health.READY, seen)
    else:
        yield Finding("ROS 2", Health.MISSING, seen, "export RMW_IMPLEMENTATION=rmw_fastrtps_cpp")


def fast_dds_profile() -> Iterator[Finding]:
    """Transports that carry images. `vga` and the launch files set them for their nodes; others need them."""
    subject = "Fast DDS profile"
    file = os.environ.get(PROFILE)
    if not file:
        seen = f"{PROFILE} is not set: nodes started by hand lose images"
        yield Finding(subject, Health.ABSENT, seen, ENVIRONMENT)
        return
    try:
        root = ET.parse(file).getroot()
    except (OSError, ET.ParseError) as error:
        yield Finding(subject, Health.MISSING, f"{file}: {error}", ENVIRONMENT)
        return
    if any(element.tag.endswith("segment_size") for element in root.iter()):
        yield Finding(subject, Health.READY, file)
    else:
        yield Finding(
            subject, Health.MISSING, f"{file} sets no shared-memory segment size: images are lost", ENVIRONMENT
        )
