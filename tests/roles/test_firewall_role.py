"""The role `firewall`: which ports are open, and the commands that lead there."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailfleet.fleet.load import load
from mailfleet.fleet.model import Fleet
from mailfleet.roles import firewall
from mailfleet.roles.firewall import Firewall, FirewallState, Rule

SETTLED = FirewallState(installed=True, active=True, defaults=True, starts_at_boot=True, ipv6=True)


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return load(Path(__file__).parents[2])


def with_networks(fleet: Fleet, *networks: str) -> Fleet:
    values = tuple(ip_network(network) for network in networks)
    general = fleet.general.model_copy(update={"management_networks": values})
    return fleet.model_copy(update={"general": general})


@pytest.mark.parametrize(
    ("name", "world"),
    [
        ("mta1.eu.example.net", [80]),
        ("mta1.us.example.net", [80]),
        ("mx1.eu.example.net", [25, 80]),
        ("mx1.us.example.net", [25, 80]),
    ],
)
def test_the_world_reaches_what_the_roles_listen_on(
    fleet: Fleet, name: str, world: list[int]
) -> None:
    rules = firewall.rules(fleet, fleet.host(name))
    assert [rule.port for rule in rules if rule.source is None] == world


def test_ssh_is_open_for_the_management_networks_alone_and_comes_first(fleet: Fleet) -> None:
    rules = firewall.rules(fleet, fleet.host("mx1.eu.example.net"), ssh_port=2222)
    assert rules[:2] == (
        Rule(2222, "tcp", "198.18.0.0/24"),
        Rule(2222, "tcp", "2001:db8:0:18::/112"),
    )
    assert {rule.port for rule in rules[2:]} == {25, 80}


def test_networks_are_written_as_ufw_writes_them(fleet: Fleet) -> None:
    several = with_networks(fleet, "198.18.0.10/32", "2001:db8:0:18:0::10/128", "10.0.0.0/8")
    rules = firewall.rules(several, fleet.host("mta1.eu.example.net"))
    assert {rule.source for rule in rules if rule.port == 22} == {
        "198.18.0.10",
        "2001:db8:0:18::10",
        "10.0.0.0/8",
    }


@pytest.mark.parametrize("network", ["0.0.0.0/0", "::/0"])
def test_a_network_of_length_zero_is_the_world(fleet: Fleet, network: str) -> None:
    rules = firewall.rules(with_networks(fleet, network), fleet.host("mta1.eu.example.net"))
    assert Rule(22, "tcp", None) in rules


def test_what_ufw_says_is_read() -> None:
    state = Firewall().process(
        [
            "mailfleet-firewall",
            "installed",
            "Status: active",
            "Default: deny (incoming), allow (outgoing), disabled (routed)",
            "ufw allow from 198.18.0.0/24 to any port 22 proto tcp comment 'mailfleet'",
            "ufw allow 25/tcp comment 'mailfleet'",
            "ufw allow 443/tcp",
            "ufw allow 8080/tcp comment 'not mailfleet'",
            "ufw limit 587/tcp comment 'mailfleet'",
            "ufw allow from 2001:db8:0:18::/112 to any port 22 proto tcp comment 'mailfleet'",
            "ENABLED=yes",
            "IPV6=yes",
            "boot enabled",
        ]
    )
    assert state == replace(
        SETTLED,
        ours=frozenset(
            {
                Rule(22, "tcp", "198.18.0.0/24"),
                Rule(22, "tcp", "2001:db8:0:18::/112"),
                Rule(25, "tcp"),
            }
        ),
        unreadable=("limit 587/tcp",),
        foreign=("allow 443/tcp", "allow 8080/tcp comment 'not mailfleet'"),
    )


def test_a_read_that_failed_is_not_an_open_host() -> None:
    assert Firewall().process(["bash: syntax error"]) is None


def test_a_bare_host_gets_ssh_before_anything_is_closed(fleet: Fleet) -> None:
    rules = firewall.rules(fleet, fleet.host("mx1.eu.example.net"))
    lines = firewall.commands(rules, FirewallState(installed=False))
    first_close = lines.index("ufw default deny incoming")
    ssh = [i for i, line in enumerate(lines) if " port 22 " in line]
    assert len(ssh) == 2
    assert max(ssh) < first_close < lines.index("ufw --force enable")


def test_a_role_that_is_gone_takes_its_rule_with_it() -> None:
    state = replace(SETTLED, ours=frozenset({Rule(22, "tcp", "10.0.0.0/8"), Rule(587, "tcp")}))
    assert firewall.commands((Rule(22, "tcp", "10.0.0.0/8"),), state) == (
        "ufw delete allow 587/tcp",
    )


_RULES = st.builds(
    Rule,
    port=st.sampled_from([22, 25, 80, 587]),
    proto=st.sampled_from(["tcp", "udp"]),
    source=st.sampled_from([None, "10.0.0.0/8", "198.18.0.10", "2001:db8::/32"]),
)


def obey(state: FirewallState, lines: tuple[str, ...]) -> FirewallState:
    """What ufw would be after these commands: a second, simple-minded ufw."""
    rules = {str(rule): rule for rule in state.ours}
    for line in lines:
        words = line.removeprefix("ufw ").removesuffix(" comment mailfleet")
        match words.split():
            case ["allow", *_]:
                read = firewall._rule(f"ufw {words} comment 'mailfleet'")
                assert read is not None
                rules[words] = read
            case ["delete", *_]:
                rules.pop(words.removeprefix("delete "), None)
            case ["--force", "enable"]:
                state = replace(state, active=True)
            case ["default", *_]:
                state = replace(state, defaults=True)
            case ["systemctl", *_]:
                state = replace(state, starts_at_boot=True)
            case ["sed", *_]:
                state = replace(state, ipv6=True)
    return replace(state, installed=True, unreadable=(), ours=frozenset(rules.values()))


@given(
    wanted=st.sets(_RULES),
    ours=st.frozensets(_RULES),
    flags=st.tuples(st.booleans(), st.booleans(), st.booleans(), st.booleans()),
)
def test_the_commands_lead_to_what_is_wanted_and_then_there_are_none(
    wanted: set[Rule], ours: frozenset[Rule], flags: tuple[bool, bool, bool, bool]
) -> None:
    active, defaults, boot, ipv6 = flags
    before = FirewallState(True, active, defaults and active, boot, ipv6, ours=ours)
    after = obey(before, firewall.commands(tuple(wanted), before))
    assert after.ours == wanted
    assert firewall.commands(tuple(wanted), after) == ()
