"""The sealed network: one namespace with one bridge, and no way out of it.

The bridge carries the gateways of the hosts' networks and every address that stands for the
rest of the world. There is no interface to the machine and no default route, so a packet for
any other address has nowhere to go.
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from ipaddress import ip_network
from typing import TypeVar

from mailfleet.fleet.model import IPAddress, IPNetwork
from mailfleet.lab.errors import LabError
from mailfleet.lab.layout import Layout
from mailfleet.lab.processes import PROC, enter
from mailfleet.lab.world import CONTROL, WORLD_ADDRESSES

BRIDGE = "br0"
# Locally administered. Without one of its own a bridge takes the lowest of its ports', which
# changes when a host is switched on, and the other hosts go on sending to the old one for a while.
BRIDGE_MAC = "02:00:c6:12:00:0a"
T = TypeVar("T")


def network_of(address: IPAddress) -> IPNetwork:
    """The provider network of a host: the /25 (IPv4) or /64 (IPv6) its address lies in."""
    return ip_network(f"{address}/{25 if address.version == 4 else 64}", strict=False)


def gateway_of(address: IPAddress) -> IPAddress:
    """The first address of a host's network: the lab's bridge."""
    return network_of(address)[1]


def setup(lab: Layout, addresses: Iterable[IPAddress]) -> None:
    """Make the namespace, its bridge, addresses and routes; what is there already stays.

    Raises LabError when the kernel refuses.
    """
    if not is_up(lab):
        remove(lab)
        _run(["ip", "netns", "add", lab.namespace])
    lines = [
        f"link add {BRIDGE} address {BRIDGE_MAC} type bridge",
        "link set lo up",
        f"link set {BRIDGE} up",
    ]
    networks = sorted({network_of(a) for a in addresses}, key=lambda n: (n.version, n))
    for network in networks:
        lines.append(f"addr add {network[1]}/{network.prefixlen} {_ADDRESS_FLAGS[network.version]}")
    for address in WORLD_ADDRESSES:
        bits = address.max_prefixlen
        lines.append(f"addr add {address}/{bits} {_ADDRESS_FLAGS[address.version]}")
    # What control sends has control's address, as in production, and not the gateway's.
    for network in networks:
        family, source = ("-4", CONTROL[0]) if network.version == 4 else ("-6", CONTROL[1])
        lines.append(f"{family} route replace {network} dev {BRIDGE} src {source}")
    for line in lines:
        arguments = line.split()
        family_option = arguments[:1] if arguments[0].startswith("-") else []
        result = subprocess.run(
            [*enter(lab), "ip", *family_option, *arguments[len(family_option) :]],
            capture_output=True,
            text=True,
            check=False,
        )
        if (
            result.returncode
            and "File exists" not in result.stderr
            and "already" not in result.stderr
        ):
            raise LabError(
                f"`ip {line}` failed in namespace {lab.namespace}: {result.stderr.strip()}.",
                "The lab needs root, a kernel with bridges, and IPv6 not switched off.",
            )
    inside(lab, _sysctl)


_ADDRESS_FLAGS = {
    4: f"dev {BRIDGE} noprefixroute",
    6: f"dev {BRIDGE} noprefixroute nodad",
}


def is_up(lab: Layout) -> bool:
    """Whether the namespace exists (and is not merely the file a killed `ip netns add` left)."""
    return os.path.ismount(lab.namespace_file)


def remove(lab: Layout) -> None:
    """Drop the namespace; it ends once no process is in it. Harmless when there is none."""
    while is_up(lab):
        _run(["umount", "--lazy", str(lab.namespace_file)])
    lab.namespace_file.unlink(missing_ok=True)
    directory = lab.namespace_file.parent
    if directory.is_mount() and not any(directory.iterdir()):
        # `ip netns add` mounted it over itself; refused when somebody is just using it.
        subprocess.run(["umount", str(directory)], check=False, capture_output=True)


def inside(lab: Layout, work: Callable[[], T]) -> T:
    """Call `work` in a thread that has entered the namespace; its sockets belong there."""
    box: list[T] = []
    failure: list[BaseException] = []

    def target() -> None:
        try:
            _setns(lab)
            box.append(work())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=target, name=f"inside {lab.namespace}", daemon=True)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return box[0]


def wait_for_port(
    lab: Layout,
    address: IPAddress,
    port: int,
    *,
    timeout: float,
    banner: bool = False,
    lives: Callable[[], bool] = lambda: True,
) -> bool:
    """Wait up to `timeout` seconds until something listens there (and, with `banner`, speaks).

    Gives up early when `lives` says that what should listen has ended.
    """

    def attempt() -> bool:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            try:
                with socket.create_connection((str(address), port), timeout=2) as connection:
                    if not banner or connection.recv(1):
                        return True
            except OSError:
                pass
            if not lives():
                return False
            time.sleep(0.1)
        return False

    return inside(lab, attempt)


def _setns(lab: Layout) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(lab.namespace_file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(descriptor, 0x40000000):  # CLONE_NEWNET
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(lab.namespace_file))
    finally:
        os.close(descriptor)


def _sysctl() -> None:
    """Forward between the hosts' networks; tell nobody to talk past the gateway."""
    # /proc/sys/net shows the namespace of the thread that opens it.
    for name, value in {
        "net/ipv4/ip_forward": "1",
        "net/ipv4/conf/all/send_redirects": "0",
        f"net/ipv4/conf/{BRIDGE}/send_redirects": "0",
        "net/ipv6/conf/all/forwarding": "1",
    }.items():
        (PROC / "sys" / name).write_text(value)


def _run(argv: list[str]) -> None:
    result = subprocess.run(argv, capture_output=True, text=True, check=False)
    if result.returncode:
        raise LabError(f"`{' '.join(argv)}` failed: {result.stderr.strip()}.")
