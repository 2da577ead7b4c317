"""What Postfix is told, read back from the rendered files as Postfix reads them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mailfleet.fleet.load import load
from mailfleet.fleet.model import Fleet, Host, Role
from mailfleet.hosts.render import RenderError
from mailfleet.roles import postfix, postfix_settings
from mailfleet.roles.postfix_maps import maps, recipients
from mailfleet.warmup.parameters import parameters

ROOT = Path(__file__).parents[2]
SENDER, MX, BACKUP = "mta1.eu.example.net", "mx1.eu.example.net", "mx1.us.example.net"


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return load(ROOT)


def main_cf(text: str) -> dict[str, str]:
    """Parameters of main.cf by postconf(5)'s rules; a parameter that is set twice is an error."""
    found: dict[str, str] = {}
    logical: list[str] = []
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line[0].isspace():
            logical[-1] += " " + line.strip()
        else:
            logical.append(line)
    for line in logical:
        name, _, value = line.partition("=")
        assert name.strip() not in found, f"{name} is set twice"
        found[name.strip()] = value.strip()
    return found


def services(text: str) -> dict[str, list[str]]:
    """Services of master.cf to their fields and options."""
    found: dict[str, list[str]] = {}
    last = ""
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        if line[0].isspace():
            found[last] += line.split()
        else:
            fields = line.split()
            last = f"{fields[0]}/{fields[1]}"
            assert last not in found, f"{last} is there twice"
            found[last] = fields[2:]
    return found


def texts(fleet: Fleet, name: str, **kwargs: object) -> dict[str, str]:
    files = postfix.files(fleet, fleet.host(name), **kwargs)  # type: ignore[arg-type]
    return {file.path: file.content for file in files}


def parsed(fleet: Fleet, name: str, **kwargs: object) -> dict[str, str]:
    return main_cf(texts(fleet, name, **kwargs)["/etc/postfix/main.cf"])


def table(text: str) -> dict[str, str]:
    rows = [line.split(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    assert len(rows) == len(dict(rows)), "a key is there twice"
    return dict(rows)


def with_host(fleet: Fleet, name: str, **changes: object) -> Fleet:
    hosts = tuple(
        host.model_copy(update=changes) if host.name == name else host for host in fleet.hosts
    )
    return fleet.model_copy(update={"hosts": hosts})


def with_domain(fleet: Fleet, name: str, **changes: object) -> Fleet:
    domains = tuple(
        domain.model_copy(update=changes) if domain.name == name else domain
        for domain in fleet.domains
    )
    return fleet.model_copy(update={"domains": domains})


# -- every host


@pytest.mark.parametrize("name", [SENDER, MX, BACKUP, "mta1.us.example.net"])
def test_what_holds_on_every_host(fleet: Fleet, name: str) -> None:
    main = parsed(fleet, name)
    assert main["myhostname"] == name
    assert main["mynetworks"] == "127.0.0.0/8 [::1]/128"
    assert main["smtpd_relay_restrictions"] == "permit_mynetworks, reject_unauth_destination"
    assert main["smtpd_forbid_bare_newline"] == "normalize"
    assert main["smtpd_forbid_unauth_pipelining"] == "yes"
    assert main["smtp_tls_security_level"] == "dane"
    assert main["smtp_dns_support_level"] == "dnssec"
    assert main["smtp_tls_protocols"] == ">=TLSv1.2"
    assert main["milter_default_action"] == "tempfail"


@pytest.mark.parametrize("name", [SENDER, MX, BACKUP])
def test_debian_adds_nothing_to_master_cf(fleet: Fleet, name: str) -> None:
    # The postinst of Debian 12 appends the services that it misses (fix_master).
    wanted = {"flush", "proxymap", "trace", "verify", "tlsmgr", "anvil", "scache", "discard"}
    wanted |= {"retry", "relay"}
    found = services(texts(fleet, name)["/etc/postfix/master.cf"])
    assert wanted <= {service.partition("/")[0] for service in found}
    assert found["cleanup/unix"][0] == "n"


@pytest.mark.parametrize("name", [SENDER, MX, BACKUP])
def test_no_ipv6_unless_the_fleet_gives_the_host_one(fleet: Fleet, name: str) -> None:
    plain = with_host(fleet, name, ipv6=None)
    main = parsed(plain, name)
    assert main["inet_protocols"] == "ipv4"
    assert "smtp_bind_address6" not in main
    assert not any("::1" in s for s in services(texts(plain, name)["/etc/postfix/master.cf"]))
    assert parsed(fleet, name)["smtp_bind_address6"] == str(fleet.host(name).ipv6)


def test_turning_ipv6_off_is_a_restart(fleet: Fleet) -> None:
    plain = with_host(fleet, MX, ipv6=None)
    before = postfix.restarts(fleet, fleet.host(MX))
    assert before != postfix.restarts(plain, plain.host(MX))


@pytest.mark.parametrize(("debian", "unit"), [(12, "postfix@-.service"), (13, "postfix.service")])
def test_unit_of_the_release(fleet: Fleet, debian: int, unit: str) -> None:
    assert postfix.unit(fleet.host(MX).model_copy(update={"debian": debian})) == unit


def test_return_path_of_the_hosts_own_mail(fleet: Fleet) -> None:
    assert parsed(fleet, SENDER)["sender_canonical_maps"] == (
        "inline:{ @mta1.eu.example.net=postmaster@example.net }"
    )
    general = fleet.general.model_copy(update={"contact": "ops@elsewhere.test"})
    outside = fleet.model_copy(update={"general": general})
    assert "sender_canonical_maps" not in parsed(outside, SENDER)
    assert "ops@elsewhere.test" in parsed(outside, SENDER)["alias_maps"]


# -- sender


def test_sender_listens_on_loopback_only(fleet: Fleet) -> None:
    found = services(texts(fleet, SENDER)["/etc/postfix/master.cf"])
    assert [s for s in found if s.endswith("/inet")] == ["127.0.0.1:smtp/inet", "[::1]:smtp/inet"]
    assert postfix.ports(fleet, fleet.host(SENDER)) == ()


def test_sender_signs_or_waits(fleet: Fleet) -> None:
    main = parsed(fleet, SENDER)
    signer = "{ inet:127.0.0.1:8891, default_action=tempfail }"
    assert main["smtpd_milters"] == main["non_smtpd_milters"] == signer


def test_every_paced_transport_has_one_process_and_one_recipient(fleet: Fleet) -> None:
    files = texts(fleet, SENDER)
    main, master = main_cf(files["/etc/postfix/main.cf"]), services(files["/etc/postfix/master.cf"])
    routes = set(table(files["/etc/postfix/transport"]).values())
    paced = {route.rstrip(":") for route in routes if route != "smtp:"} | {"warm"}
    assert main["default_transport"] == "warm"
    assert paced == {"warm", "warm-google", "warm-microsoft", "warm-yahoo"}
    for name in paced:
        fields = master[f"{name}/unix"]
        assert fields[4:6] == ["1", "smtp"]
        assert f"syslog_name=postfix/{name}" in fields
        assert main[f"{name}_destination_recipient_limit"] == "1"
        assert re.fullmatch(r"[0-9]+s", main[f"{name}_transport_rate_delay"])


def test_own_domains_are_not_paced(fleet: Fleet) -> None:
    routes = table(texts(fleet, SENDER)["/etc/postfix/transport"])
    assert {routes[domain.name] for domain in fleet.domains} == {"smtp:"}
    assert routes["gmail.com"] == "warm-google:"


@pytest.mark.parametrize("cap", [None, 0, 200, 800, 20_000])
def test_a_stage_is_the_same_bytes_as_postconf_leaves(fleet: Fleet, cap: int | None) -> None:
    stage = parameters(fleet, fleet.host(SENDER), cap)
    lines = texts(fleet, SENDER, warmup=stage)["/etc/postfix/main.cf"].splitlines()
    for name, value in stage.items():
        assert lines.count(f"{name} = {value}") == 1


def test_without_a_stage_it_is_the_first_day(fleet: Fleet) -> None:
    first = parameters(fleet, fleet.host(SENDER), None)
    assert texts(fleet, SENDER) == texts(fleet, SENDER, warmup=first)


# -- mx


def test_mx_knows_every_recipient(fleet: Fleet) -> None:
    files = texts(fleet, MX)
    main = main_cf(files["/etc/postfix/main.cf"])
    assert main["virtual_mailbox_domains"] == "example.com, example.net, example.org"
    boxes = table(files["/etc/postfix/virtual_mailboxes"])
    assert boxes["alice@example.com"] == "example.com/alice/"
    assert {f"{n}@{d.name}" for d in fleet.domains for n in ("abuse", "postmaster")} <= set(boxes)
    assert not any(key.startswith("@") for key in boxes), "a catch-all makes backscatter"


def test_role_addresses_reach_the_contact(fleet: Fleet) -> None:
    aliases = table(texts(fleet, MX)["/etc/postfix/virtual_aliases"])
    assert set(aliases.values()) == {"postmaster@example.net"}
    assert "postmaster@example.net" not in aliases, "an alias of itself"
    assert {"abuse@example.net", "postmaster@example.com", f"postmaster@{MX}"} <= set(aliases)


def test_mx_filters_viruses_before_spam(fleet: Fleet) -> None:
    assert parsed(fleet, MX)["smtpd_milters"] == (
        "{ inet:127.0.0.1:8894, default_action=tempfail }, "
        "{ unix:spamass/spamass.sock, default_action=accept, content_timeout=60s }"
    )


def test_mx_does_not_ask_a_scanner_that_is_left_off(fleet: Fleet) -> None:
    assert "8894" not in parsed(fleet, MX, scanner=False)["smtpd_milters"]
    filters = fleet.filters.model_copy(
        update={
            "spam": fleet.filters.spam.model_copy(update={"enabled": False}),
            "virus": fleet.filters.virus.model_copy(update={"enabled": False}),
        }
    )
    plain = fleet.model_copy(update={"filters": filters})
    assert parsed(plain, MX)["smtpd_milters"] == ""


def test_mx_trusts_the_backup(fleet: Fleet) -> None:
    files = texts(fleet, MX)
    clients = table(files["/etc/postfix/trusted_clients.cidr"])
    assert clients == {"198.51.100.153": "OK", "2001:db8:2::25": "OK"}
    main = main_cf(files["/etc/postfix/main.cf"])
    for name in ("smtpd_helo_restrictions", "smtpd_sender_restrictions"):
        assert "check_client_access cidr:/etc/postfix/trusted_clients.cidr" in main[name]
    assert "trusted" not in main["smtpd_relay_restrictions"]
    assert "trusted" not in main["smtpd_recipient_restrictions"]


@pytest.mark.parametrize(
    ("destination", "hop"),
    [
        ("smtp:exchange.example.com", "[exchange.example.com]:25"),
        ("smtp:exchange.example.com:2525", "[exchange.example.com]:2525"),
        ("smtp:198.51.100.77", "[198.51.100.77]:25"),
        ("smtp:[2001:db8:1::77]", "[ipv6:2001:db8:1::77]:25"),
        ("smtp:[2001:db8:1::77]:2525", "[ipv6:2001:db8:1::77]:2525"),
    ],
)
def test_mx_hands_on_to_the_destination(fleet: Fleet, destination: str, hop: str) -> None:
    relaying = with_domain(fleet, "example.org", destination=destination)
    files = texts(relaying, MX)
    main = main_cf(files["/etc/postfix/main.cf"])
    assert main["relay_domains"] == "example.org"
    assert main["virtual_mailbox_domains"] == "example.com, example.net"
    assert table(files["/etc/postfix/transport"]) == {"example.org": f"relay:{hop}"}
    assert "carol@example.org" in table(files["/etc/postfix/relay_recipients"])
    assert "carol@example.org" not in table(files["/etc/postfix/virtual_mailboxes"])


def test_next_hop_refuses_a_maildir(fleet: Fleet) -> None:
    with pytest.raises(ValueError, match=r"example\.com: 'maildir' is not smtp:"):
        postfix_settings.next_hop(fleet.domain("example.com"))


@pytest.mark.parametrize("local", ["../../etc/cron.d/x", "a/b", ".hidden", "with space", "#x"])
def test_a_recipient_that_cannot_be_a_mailbox(fleet: Fleet, local: str) -> None:
    bad = fleet.model_copy(update={"recipients": {"example.com": (f"{local}@example.com",)}})
    with pytest.raises(RenderError, match=r"recipients/example\.com: .*cannot be a mailbox"):
        recipients(bad, bad.domain("example.com"))


# -- backup_mx


def test_backup_takes_known_recipients_and_finds_the_mx_in_dns(fleet: Fleet) -> None:
    files = texts(fleet, BACKUP)
    main = main_cf(files["/etc/postfix/main.cf"])
    assert main["relay_domains"] == "example.com, example.net, example.org"
    assert "transport_maps" not in main
    assert "virtual_mailbox_domains" not in main
    known = table(files["/etc/postfix/relay_recipients"])
    assert set(known) == {a for d in fleet.domains for a in recipients(fleet, d)}
    assert main["proxy_interfaces"] == "198.51.100.153, 2001:db8:2::25"
    assert main["maximal_queue_lifetime"] == "10d"


def test_backup_knows_whom_the_mx_knows(fleet: Fleet) -> None:
    there = set(table(texts(fleet, MX)["/etc/postfix/virtual_mailboxes"]))
    here = set(table(texts(fleet, BACKUP)["/etc/postfix/relay_recipients"]))
    assert here == there, "what only one of them knows becomes a bounce to a forged sender"


def test_backup_is_as_strict_as_the_mx(fleet: Fleet) -> None:
    mx, backup = parsed(fleet, MX), parsed(fleet, BACKUP)
    trust = "check_client_access cidr:/etc/postfix/trusted_clients.cidr, "
    for name in ("smtpd_helo_restrictions", "smtpd_sender_restrictions", "smtpd_milters"):
        assert mx[name].replace(trust, "") == backup[name]


def test_backup_of_some_domains_only(fleet: Fleet) -> None:
    some = with_domain(fleet, "example.org", backup_mx=())
    assert parsed(some, BACKUP)["relay_domains"] == "example.com, example.net"


# -- the files together


def test_no_host_lacks_a_table_that_its_main_cf_names(fleet: Fleet) -> None:
    for host in fleet.hosts:
        files = texts(fleet, host.name)
        named = set(re.findall(r"(?:texthash|cidr):(\S+?)(?:,|\s|$)", files[postfix.MAIN]))
        assert named == set(files) - {postfix.MAIN, postfix.MASTER}


def test_tables_are_in_order_and_say_whose_they_are(fleet: Fleet) -> None:
    for host in fleet.hosts:
        for file in maps(fleet, host, postfix_settings.settings(fleet, host)):
            first, *rows = file.content.splitlines()
            assert first.startswith("# Written by mailfleet")
            if not file.path.endswith((".cidr", "aliases")):
                keys = [row.split()[0].partition("@")[::-2] for row in rows]
                assert keys == sorted(keys) or host.role is Role.SENDER


def test_hosts_in_no_domain(fleet: Fleet) -> None:
    lonely: Host = fleet.host(MX).model_copy(update={"name": "mx9.eu.example.net"})
    fleet = with_domain(fleet, "example.com", mx=(MX,))
    fleet = fleet.model_copy(update={"hosts": (*fleet.hosts, lonely)})
    main = parsed(fleet, lonely.name)
    assert main["virtual_mailbox_domains"] == "example.net, example.org"


def test_a_backup_takes_nothing_that_an_mx_refuses_for_its_size_or_hops(fleet: Fleet) -> None:
    mx, backup = parsed(fleet, MX), parsed(fleet, BACKUP)
    assert int(backup["message_size_limit"]) < int(mx["message_size_limit"]) - 256 * 1024
    assert int(backup["hopcount_limit"]) < 50 - 5  # Postfix's default, which the mx has
    assert "hopcount_limit" not in mx


@pytest.mark.parametrize("name", [MX, BACKUP])
def test_strangers_ask_for_no_delivery_reports(fleet: Fleet, name: str) -> None:
    assert parsed(fleet, name)["smtpd_discard_ehlo_keywords"] == "dsn, etrn, silent-discard"


def test_one_slow_server_does_not_hold_up_a_paced_transport(fleet: Fleet) -> None:
    master = texts(fleet, SENDER)["/etc/postfix/master.cf"]
    paced = master[master.index("\nwarm unix") :].split("\nwarm-")[0]
    for step in ("connect", "helo", "mail", "rcpt", "data_init"):
        (seconds,) = re.findall(rf"-o smtp_{step}_timeout=(\d+)s", paced)
        assert int(seconds) <= 60
