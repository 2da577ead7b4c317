"""Nothing in the lab reaches anything outside it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
from ast import literal_eval
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface
from pathlib import Path

import pytest

from mailfleet.fleet.addresses import in_lab
from mailfleet.lab import mailboxes, processes
from mailfleet.lab.lab import Lab
from mailfleet.lab.providers.catalogue import PROVIDERS

pytestmark = pytest.mark.lab

# Run on a host or on control: tries to connect, prints every target that answered in any way
# other than "there is no way there" or silence. (Bare hosts have Python without json.)
PROBE = """
import errno, select, socket, sys, time
silent = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EINPROGRESS, errno.EAGAIN)
answered, waiting = [], {}
for target in eval(sys.stdin.read()):
    address, port, kind = target
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    s = socket.socket(family, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
    s.setblocking(False)
    code = s.connect_ex((address, port))
    if code == 0 and kind == "udp":
        try:
            s.send(bytes.fromhex("0001010000010000000000000000020001"))
        except OSError as error:
            code = error.errno
    if code in (0, errno.EINPROGRESS):
        waiting[s] = target
    elif code not in silent:
        answered.append((*target, code))
end = time.monotonic() + 2
while waiting and time.monotonic() < end:
    udp = [s for s in waiting if waiting[s][2] == "udp"]
    tcp = [s for s in waiting if waiting[s][2] == "tcp"]
    readable, writable, _ = select.select(udp, tcp, [], 0.1)
    for s in readable + writable:
        code = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code not in silent:
            answered.append((*waiting[s], code))
        del waiting[s]
print(repr(answered))
"""


def own_addresses() -> list[str]:
    """The addresses of this machine itself, outside the lab, without loopback."""
    links = json.loads(subprocess.check_output(["ip", "-j", "address"]))
    found = [info["local"] for link in links for info in link.get("addr_info", [])]
    routes = json.loads(subprocess.check_output(["ip", "-j", "route", "show", "default"]))
    found += [route["gateway"] for route in routes if "gateway" in route]
    with open("/etc/resolv.conf") as file:
        found += [line.split()[1] for line in file if line.startswith("nameserver")]
    usable = []
    for text in dict.fromkeys(found):
        address = ip_address(text.partition("%")[0])
        if not (address.is_loopback or address.is_link_local):
            usable.append(str(address))
    return usable


def targets() -> list[tuple[str, int, str]]:
    # Documentation and discard-only addresses stand for the Internet: should the seal be broken,
    # this test still sends nothing to anybody.
    outside = [*own_addresses(), "203.0.113.1", "192.0.2.1", "100::1"]
    found = [(address, port, "tcp") for address in outside for port in (22, 25, 53, 80, 443)]
    return found + [(address, 53, "udp") for address in outside]


def test_this_machine_has_addresses_to_try() -> None:
    assert own_addresses()


def test_control_reaches_nothing_outside(lab: Lab) -> None:
    result = lab.run(["python3", "-c", PROBE], input=repr(targets()))
    assert literal_eval(result.stdout) == []


NSCD = Path("/run/nscd/socket")


@pytest.fixture
def asked(lab: Lab) -> Iterator[list[bytes]]:
    """What a stand-in for the machine's nscd was asked, in the order it came."""
    if NSCD.exists():
        pytest.skip("this machine has an nscd of its own")
    made = not NSCD.parent.exists()
    NSCD.parent.mkdir(exist_ok=True)
    heard: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(NSCD))
        os.chmod(NSCD, 0o666)
        listener.listen(16)

        def listen() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    heard.append(connection.recv(1024))

        threading.Thread(target=listen, daemon=True).start()
        try:
            yield heard
        finally:
            NSCD.unlink()
            listener.shutdown(socket.SHUT_RDWR)
            if made:
                shutil.rmtree(NSCD.parent)


LOOK_UP = "import socket\ntry: socket.getaddrinfo('leak.example', 25)\nexcept OSError: pass"


def test_names_do_not_leave_by_unix_sockets(lab: Lab, asked: list[bytes]) -> None:
    subprocess.run(["getent", "hosts", "localhost"], check=False, capture_output=True)
    assert asked, "the listener hears what is asked outside the lab"
    asked.clear()
    for argv in (["python3", "-c", LOOK_UP], ["getent", "hosts", "leak.example"]):
        lab.run(argv, check=False)
    assert asked == []
    # nsswitch.conf of the machine may name nss-resolve or nss-mdns; that of the lab does not.
    assert "hosts: files dns" in lab.run(["cat", "/etc/nsswitch.conf"]).stdout.splitlines()


def test_services_see_the_labs_name_service_too(lab: Lab) -> None:
    for name in ("dns", "acme", *map(mailboxes.service_name, PROVIDERS)):
        pid = processes.service(lab.layout, name)[0]
        root = Path(f"/proc/{pid}/root")
        assert "hosts: files dns\n" in (root / "etc/nsswitch.conf").read_text(), name
        assert "198.18.0.53" in (root / "etc/resolv.conf").read_text(), name


def test_no_host_reaches_anything_outside(lab: Lab) -> None:
    for host in lab.record().hosts:
        result = lab.ssh(host.name, ["python3", "-c", PROBE], input=repr(targets()))
        assert literal_eval(result.stdout) == [], host.name


def test_the_probe_sees_what_is_reachable(lab: Lab) -> None:
    inside = [
        ("198.18.0.53", 53, "udp"),
        ("198.18.0.3", 3142, "tcp"),
        ("2001:db8:0:18::53", 53, "tcp"),
    ]
    for run in (
        lab.run(["python3", "-c", PROBE], input=repr(inside)),
        lab.ssh("mta1.us", ["python3", "-c", PROBE], input=repr(inside)),
    ):
        assert len(literal_eval(run.stdout)) == len(inside), run.stdout


def test_the_namespace_has_no_way_out(lab: Lab) -> None:
    """By its own tables: interfaces, addresses, routes, rules."""
    ip = ["ip", "-j"]
    links = json.loads(lab.run([*ip, "-d", "link"]).stdout)
    kinds = {link["ifname"]: link.get("linkinfo", {}).get("info_kind") for link in links}
    assert kinds.pop("lo") is None
    assert kinds.pop("br0") == "bridge"
    assert set(kinds.values()) == {"veth"}
    assert len(kinds) == len(lab.record().hosts)
    for link in links:
        if link.get("linkinfo", {}).get("info_kind") == "veth":
            # The other end is in a host; one in the machine's own namespace has netnsid 0 or none.
            assert link["master"] == "br0"
            assert "link_netnsid" in link
    addresses = json.loads(lab.run([*ip, "address"]).stdout)
    for link in addresses:
        for info in link["addr_info"]:
            address = ip_interface(info["local"]).ip
            assert address.is_loopback or address.is_link_local or in_lab(address), info
    for family in ("-4", "-6"):
        routes = json.loads(lab.run([*ip, family, "route", "show", "table", "all"]).stdout)
        assert not [route for route in routes if route["dst"] == "default"]
        rules = json.loads(lab.run([*ip, family, "rule"]).stdout)
        assert {rule["table"] for rule in rules} <= {"local", "main", "default"}


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "10.0.0.1", "2001:4860:4860::8888"])
def test_there_is_no_route_to_a_public_address(address: str, lab: Lab) -> None:
    result = lab.run(["ip", "route", "get", address], check=False)  # looks, sends nothing
    assert result.returncode != 0
    assert "unreachable" in result.stderr


def test_no_interface_of_the_machine_belongs_to_the_lab(lab: Lab) -> None:
    links = json.loads(subprocess.check_output(["ip", "-j", "address"]))
    for link in links:
        assert link["ifname"] != "br0"
        assert not link["ifname"].startswith("vb-")
        for info in link.get("addr_info", []):
            assert not in_lab(ip_address(info["local"]))


def test_the_veth_pairs_end_in_hosts(lab: Lab) -> None:
    """Seen from the hosts: one link beside loopback, whose peer is not in the machine's own."""
    for host in lab.record().hosts:
        links = json.loads(lab.ssh(host.name, "ip -j address").stdout)
        names = {link["ifname"] for link in links}
        assert names == {"lo", "host0"}
        found = {
            ip_address(info["local"])
            for link in links
            for info in link["addr_info"]
            if link["ifname"] == "host0" and info["scope"] == "global"
        }
        assert found == set(host.addresses)


@pytest.mark.parametrize(
    "request_line",
    [
        "CONNECT mirror.example:443 HTTP/1.1",
        "CONNECT 127.0.0.1:22 HTTP/1.1",
        "GET http://127.0.0.1:22/ HTTP/1.1",
        "GET http://192.0.2.1/ HTTP/1.1",
        "GET http://mirror.example/debian/dists/trixie/InRelease HTTP/1.1",
        "GET file:///etc/passwd HTTP/1.1",
        "GET /etc/passwd HTTP/1.1",
        "POST http://192.0.2.1/ HTTP/1.1",
    ],
)
def test_the_package_proxy_is_no_way_out(request_line: str, lab: Lab) -> None:
    script = (
        "import socket, sys; s = socket.create_connection(('198.18.0.3', 3142), 5);"
        "s.sendall((sys.argv[1] + '\\r\\nHost: x\\r\\nContent-Length: 0\\r\\n\\r\\n').encode());"
        "print(s.recv(4096).decode().splitlines()[0])"
    )
    status = lab.ssh("mx1.us", ["python3", "-c", script, request_line]).stdout
    assert status.split()[1] in {"403", "501"}, status


def test_packages_do_come_through(lab: Lab) -> None:
    """On one host of each release, with signatures checked by apt."""
    for release in (12, 13):
        host = next(host for host in lab.record().hosts if host.debian == release)
        result = lab.ssh(host.name, "apt-get update && apt-get download --print-uris postfix")
        assert "InRelease" in result.stdout
        assert "postfix_" in result.stdout
        assert "W:" not in result.stderr


def test_hosts_talk_to_each_other_by_both_families(lab: Lab) -> None:
    hosts = lab.record().hosts
    wanted = [(str(address), 22, "tcp") for host in hosts for address in host.addresses]
    for host in hosts:
        result = lab.ssh(host.name, ["python3", "-c", PROBE], input=repr(wanted))
        answered = {entry[0] for entry in literal_eval(result.stdout)}
        assert answered == {address for address, _, _ in wanted}, host.name


def test_control_comes_from_its_own_address(lab: Lab) -> None:
    """ufw on the hosts lets SSH in from the management networks only."""
    for host in lab.record().hosts:
        for address in host.addresses:
            target = f"root@{address}"
            peer = lab.run(["ssh", "-o", "BatchMode=yes", target, "echo $SSH_CONNECTION"]).stdout
            source = ip_address(peer.split()[0])
            assert source in {IPv4Address("198.18.0.10"), IPv6Address("2001:db8:0:18::10")}
