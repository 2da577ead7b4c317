"""The role `firewall`: ufw lets in SSH from the management networks and what the roles listen on.

Rules of ours carry the comment `mailfleet` and are exact: what a role no longer opens is closed.
Rules of others stay, and are spoken of. A change is confirmed over a new SSH connection; without
that the rules from before come back by themselves.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from ipaddress import ip_network

from pyinfra import context, logger
from pyinfra.api.command import StringCommand
from pyinfra.api.deploy import deploy
from pyinfra.api.exceptions import ConnectError
from pyinfra.api.facts import FactBase
from pyinfra.api.operation import operation

from mailfleet.fleet.model import Fleet, Host
from mailfleet.hosts import changes, operations, roles
from mailfleet.hosts.files import File
from mailfleet.hosts.render import render

SCRIPT = "/usr/local/lib/mailfleet/mailfleet-firewall"
COMMENT = "mailfleet"
# Seconds until unconfirmed rules are taken back.
ROLLBACK_SECONDS = 120

_DEFAULTS = "deny (incoming), allow (outgoing)"
_ADDED = re.compile(
    r"ufw allow (?:from (?P<source>\S+) to any port (?P<port>\d+) proto (?P<proto>tcp|udp)"
    r"|(?P<any_port>\d+)/(?P<any_proto>tcp|udp))"
    rf" comment '{COMMENT}'"
)


@dataclass(frozen=True, order=True)
class Rule:
    """One `ufw allow`. `source` is a network or address as ufw writes it, None for the world."""

    port: int
    proto: str
    source: str | None = None

    def __str__(self) -> str:
        if self.source is None:
            return f"allow {self.port}/{self.proto}"
        return f"allow from {self.source} to any port {self.port} proto {self.proto}"


def packages(host: Host) -> tuple[str, ...]:
    """The same on Debian 12 and 13."""
    return ("ufw",)


def ports(fleet: Fleet, host: Host) -> tuple[roles.Port, ...]:
    """Nothing of its own for the world: SSH is open for the management networks only."""
    return ()


def files(fleet: Fleet, host: Host) -> tuple[File, ...]:
    """The script that takes a change back. The rules themselves are ufw's business."""
    template = "usr/local/lib/mailfleet/mailfleet-firewall.j2"
    return (File(SCRIPT, render(template), mode="755"),)


def rules(fleet: Fleet, host: Host, ssh_port: int = 22) -> tuple[Rule, ...]:
    """What is open on a host, SSH first, over IPv4 and IPv6.

    A management network of length 0 means the world, in both families.
    """
    ssh = {
        Rule(ssh_port, "tcp", None if network.prefixlen == 0 else _written(str(network)))
        for network in fleet.general.management_networks
    }
    world = {Rule(port.number, port.proto) for port in roles.ports_of(fleet, host)}
    return (*sorted(ssh, key=str), *sorted(world - ssh))


def _written(source: str) -> str:
    """A network as ufw writes it: a single address goes without its length."""
    network = ip_network(source, strict=False)
    return str(network.network_address if network.num_addresses == 1 else network)


@dataclass(frozen=True)
class FirewallState:
    """ufw as it is. `ours` and `foreign` are rules as `ufw show added` writes them, without ufw."""

    installed: bool
    active: bool = False
    defaults: bool = False
    starts_at_boot: bool = False
    ipv6: bool = False
    unconfirmed: bool = False
    ours: frozenset[Rule] = frozenset()
    unreadable: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()


class Firewall(FactBase[FirewallState | None]):
    """State and rules of ufw in one command."""

    def command(self) -> str:
        return (
            "LC_ALL=C; export LC_ALL; echo mailfleet-firewall; "
            "command -v ufw >/dev/null || exit 0; echo installed; "
            "ufw status verbose | grep -E '^(Status|Default):'; ufw show added | grep '^ufw '; "
            "grep -h -E '^(ENABLED|IPV6)=' /etc/ufw/ufw.conf /etc/default/ufw; "
            "echo boot $(systemctl is-enabled ufw.service); "
            "if [ -d /run/mailfleet/firewall-before ]; then echo unconfirmed; fi"
        )

    def process(self, output: list[str]) -> FirewallState | None:
        if output[0] != "mailfleet-firewall":
            return None
        if "installed" not in output:
            return FirewallState(installed=False)
        added = [line for line in output if line.startswith("ufw ")]
        marked = [line for line in added if line.endswith(f"comment '{COMMENT}'")]
        read = {line: _rule(line) for line in marked}
        return FirewallState(
            installed=True,
            active="Status: active" in output,
            defaults=any(line.startswith(f"Default: {_DEFAULTS}") for line in output),
            starts_at_boot="ENABLED=yes" in output and "boot enabled" in output,
            ipv6="IPV6=yes" in output,
            unconfirmed="unconfirmed" in output,
            ours=frozenset(rule for rule in read.values() if rule is not None),
            unreadable=tuple(
                line.removeprefix("ufw ").removesuffix(f" comment '{COMMENT}'")
                for line, rule in read.items()
                if rule is None
            ),
            foreign=tuple(line.removeprefix("ufw ") for line in added if line not in marked),
        )


def _rule(line: str) -> Rule | None:
    match = _ADDED.fullmatch(line)
    if match is None:
        return None
    if match["any_port"]:
        return Rule(int(match["any_port"]), match["any_proto"])
    return Rule(int(match["port"]), match["proto"], _written(match["source"]))


def commands(wanted: Iterable[Rule], state: FirewallState) -> tuple[str, ...]:
    """The shell commands from what is to what is wanted, none when they agree.

    `wanted` is in the order in which rules are added: SSH comes first, before anything is closed.
    """
    wanted = tuple(wanted)
    lines = [f"ufw {rule} comment {COMMENT}" for rule in wanted if rule not in state.ours]
    lines += [f"ufw delete {rule}" for rule in sorted(state.ours - set(wanted), key=str)]
    lines += [f"ufw delete {text}" for text in state.unreadable]
    if not state.ipv6:
        lines.append("sed -i 's/^IPV6=.*/IPV6=yes/' /etc/default/ufw")
    if not (state.active and state.defaults):
        lines += ["ufw default deny incoming", "ufw default allow outgoing"]
    if not state.starts_at_boot:
        lines.append("systemctl enable --quiet ufw.service")
    if not (state.active and state.starts_at_boot):
        lines.append("ufw --force enable")
    elif not state.ipv6:
        lines.append("ufw reload")
    return tuple(lines)


@operation()
def ufw(wanted: tuple[Rule, ...]) -> Generator[StringCommand, None, None]:
    """Have exactly these rules of ours in force, without cutting off whoever is at work.

    The rollback is armed first. What calls it off is sent over a new connection, which then
    replaces the old one; if that connection cannot be made, the rules from before come back at
    once over the old one, and by the timer if that is gone too.
    """
    state = context.host.get_fact(Firewall)
    if state is None:
        yield StringCommand("echo 'could not read the state of the firewall' >&2; exit 1")
        return
    lines = commands(wanted, state)
    if state.foreign:
        context.host.log(
            f"ufw has rules that are not mailfleet's, they stay: {'; '.join(state.foreign)}",
            logger.warning,
        )
    if not lines and not state.unconfirmed:
        return
    for line in lines:
        changes.announce("command", line, "run")
    yield StringCommand("\n".join(["set -e", f"{SCRIPT} arm {ROLLBACK_SECONDS}", *lines]))
    problem = reconnect()
    if problem is None:
        yield StringCommand(f"{SCRIPT} keep")
        return
    networks = ", ".join(
        rule.source or "the world" for rule in wanted if rule.port == wanted[0].port
    )
    yield StringCommand(
        f"{SCRIPT} rollback >/dev/null; cat >&2; exit 1",
        _stdin=(
            "the new firewall rules would have cut this control machine off "
            f"(a new SSH connection failed: {problem}), so the rules from before are back. "
            f"SSH is open for {networks}: add your network to fleet.management_networks\n"
        ),
    )


def reconnect() -> str | None:
    """Replace the connection to the host by a new one; None, or why there is none."""
    host = context.host
    old = host.connector
    new = type(old)(host.state, host)
    try:
        new.connect()
    except ConnectError as error:
        return str(error)
    host.connector = new
    old.disconnect()
    client = getattr(old, "client", None)
    if client is not None:
        client.close()
    return None


@deploy("firewall")
def firewall(fleet: Fleet, host: Host) -> None:
    """The way back first, then the rules."""
    operations.files(
        name="The way back from a firewall that locks out",
        files=files(fleet, host),
        validate=f'sh -n "$(staged {SCRIPT})"',
    )
    ssh_port = int(context.host.data.get("ssh_port") or 22)
    ufw(name="Firewall", wanted=rules(fleet, host, ssh_port))
