"""Every mistake with the exact problems it must give: severity, file, line, subject, field.

Each case edits one file of the fleet in conftest.py; a line is named by text that stands on it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from mailfleet.fleet.errors import Problem
from mailfleet.fleet.load import inspect

YML, EU, US = "fleet.yml", "inventories/eu.py", "inventories/us.py"


@dataclass(frozen=True)
class Expected:
    """A problem; `line` is text of its line, '' for no line; the rest must be in the message."""

    file: str
    line: str
    subject: str
    field: str
    says: str = ""
    severity: str = "error"


@dataclass(frozen=True)
class Case:
    """A mistake: in `file`, `old` (which occurs once) becomes `new`."""

    name: str
    file: str
    old: str
    new: str
    expected: tuple[Expected, ...]


def error(file: str, line: str, subject: str, field: str, says: str = "") -> Expected:
    return Expected(file, line, subject, field, says)


def warning(file: str, line: str, subject: str, field: str, says: str = "") -> Expected:
    return Expected(file, line, subject, field, says, "warning")


def case(name: str, file: str, old: str, new: str, *expected: Expected) -> Case:
    return Case(name, file, old, new, expected)


MTA_EU, MX_EU, MTA_US, MX_US = (
    "mta1.eu.example.net",
    "mx1.eu.example.net",
    "mta1.us.example.net",
    "mx1.us.example.net",
)
STAGES = "  schedules:\n    own:\n      - {cap: 100, days: 3}\n      - {cap: 90}\n"
OWN = "warmup:\n" + STAGES

CASES = [
    # fleet.yml by itself
    case(
        "unknown key",
        YML,
        "  contact:",
        "  colour: red\n  contact:",
        error(YML, "colour", "fleet", "colour", "accepted: name, zone, contact, management"),
    ),
    case(
        "mistyped optional key",
        YML,
        "    destination:",
        "    destinaton:",
        error(YML, "destinaton", "example.com", "destinaton", "Did you mean destination?"),
    ),
    case(
        "mistyped section",
        YML,
        "warmup:",
        "warmpu:",
        error(YML, "warmpu", "fleet.yml", "warmpu", "Did you mean warmup?"),
    ),
    case(
        "missing section",
        YML,
        "fleet:\n  name: test\n  zone: example.net\n  contact: postmaster@example.com\n"
        "  management_networks: [198.18.0.0/24]\n",
        "",
        error(YML, "dns:", "fleet.yml", "fleet", "no such section"),
    ),
    case(
        "missing key",
        YML,
        "  zone: example.net\n",
        "",
        error(YML, "fleet:", "fleet", "zone", "nothing; accepted: a domain name"),
    ),
    case(
        "text for a number",
        YML,
        "20000",
        '"20000"',
        error(YML, '"20000"', "pool news", "target", "accepted: a whole number, at least 1"),
    ),
    case(
        "true for a number",
        YML,
        "20000",
        "true",
        error(YML, "target", "pool news", "target", "true; accepted: a whole number"),
    ),
    case(
        "text for a list",
        YML,
        "[news]",
        "news",
        error(YML, "pools: news", "example.com", "pools", "accepted: a list of: text"),
    ),
    case(
        "text for settings",
        YML,
        "{policy: none, rua: [dmarc@example.com]}",
        "reject",
        error(YML, "dmarc: reject", "example.com", "dmarc", "settings (policy, subdomain_policy"),
    ),
    case(
        "no choice of ours",
        YML,
        "policy: none",
        "policy: rejct",
        error(YML, "rejct", "example.com", "dmarc.policy", "Did you mean reject?"),
    ),
    case(
        "out of range",
        YML,
        "dns:\n",
        "dns:\n  ttl: 5\n",
        error(YML, "ttl: 5", "dns", "ttl", "5; accepted: a whole number from 60 to 86400"),
    ),
    case(
        "YAML syntax",
        YML,
        "  zone: example.net",
        "  zone: [example.net",
        error(YML, "  contact:", "fleet.yml", "", "accepted: well-formed YAML"),
    ),
    case(
        "tab",
        YML,
        "  zone: example.net",
        "\tzone: example.net",
        error(YML, "\tzone", "fleet.yml", "", "accepted: well-formed YAML"),
    ),
    case(
        "duplicate key",
        YML,
        "    target: 20000",
        "    target: 20000\n    target: 30000",
        error(YML, "30000", "pool news", "target", "the same key again, first in line 21"),
    ),
    case(
        "duplicate domain",
        YML,
        "warmup:",
        "  example.com: {}\nwarmup:",
        error(YML, "example.com: {}", "example.com", "", "first in line 23"),
    ),
    case(
        "key that is a list",
        YML,
        "  zone: example.net",
        "  zone: example.net\n  [a, b]: c",
        error(YML, "[a, b]", "fleet.yml", "fleet", "a key that is a list or mapping"),
    ),
    case(
        "YAML tag",
        YML,
        "name: test",
        "name: !!python/name:os.system",
        error(YML, "os.system", "fleet", "name", "a YAML tag"),
        error(YML, "os.system", "fleet", "name"),
    ),
    case(
        "upper case domain",
        YML,
        "  example.com:\n",
        "  Example.com:\n",
        error(YML, "Example.com", "Example.com", "", "Write it in lower case: example.com"),
        error("recipients/example.com", "", "example.com", "", "unknown domain"),
    ),
    case(
        "internationalised zone",
        YML,
        "    example.net: main",
        "    example.net: main\n    bücher.example: main",
        error(YML, "bücher", "dns", "zones.bücher.example", "xn--"),
    ),
    case(
        "contact that is no address",
        YML,
        "contact: postmaster@example.com",
        "contact: postmaster",
        error(YML, "contact", "fleet", "contact", "accepted: a mail address"),
    ),
    case(
        "contact that the mx would forward to",
        YML,
        "contact: postmaster@example.com",
        "contact: ops@elsewhere.example",
        error(YML, "contact", "fleet", "contact", "one of the domains: example.com"),
    ),
    case(
        "contact at a host of the fleet",
        YML,
        "contact: postmaster@example.com",
        "contact: root@mta1.eu.example.net",
        error(YML, "contact", "fleet", "contact", "one of the domains: example.com"),
    ),
    case(
        "rua with mailto",
        YML,
        "rua: [dmarc@",
        "rua: [mailto:dmarc@",
        error(YML, "mailto", "example.com", "dmarc.rua[0]", "Leave out mailto:."),
    ),
    case(
        "network with host bits",
        YML,
        "198.18.0.0/24",
        "198.18.0.7/24",
        error(YML, "198.18.0.7", "fleet", "management_networks[0]", "has host bits set"),
    ),
    case(
        "SSH closed to everybody",
        YML,
        "[198.18.0.0/24]",
        "[]",
        error(YML, "management_networks", "fleet", "management_networks"),
    ),
    case(
        "SSH open to everybody",
        YML,
        "[198.18.0.0/24]",
        "[198.18.0.0/24, 0.0.0.0/0]",
        warning(YML, "management_networks", "fleet", "management_networks[1]", "whole world"),
    ),
    # secrets
    case(
        "secret in clear",
        YML,
        "secret: env:TSIG",
        "secret: hunter2hunter2",
        error(YML, "secret", "dns", "accounts.main.secret", "env:NAME, file:PATH or command:"),
    ),
    case(
        "secret in clear that is a number",
        YML,
        "secret: env:TSIG",
        "secret: 4711",
        error(YML, "secret", "dns", "accounts.main.secret", "not shown"),
    ),
    case(
        "secret under another key",
        YML,
        "secret: env:TSIG",
        "password: hunter2hunter2",
        error(YML, "main:", "dns", "accounts.main.secret", "nothing"),
        error(YML, "password", "dns", "accounts.main.password", "an unknown key"),
    ),
    case(
        "secret that looks like an alias",
        YML,
        "secret: env:TSIG",
        "secret: *hunter2hunter2",
        error(YML, "secret", "fleet.yml", "", "undefined alias"),
    ),
    case(
        "secret file that is not there",
        YML,
        "secret: env:TSIG",
        "secret: file:secrets/tsig",
        warning(YML, "secret", "dns", "accounts.main.secret", "No such file"),
    ),
    # DNS
    case(
        "unknown provider",
        YML,
        "provider: rfc2136",
        "provider: rcf2136",
        error(YML, "rcf2136", "dns", "accounts.main.provider", "Did you mean rfc2136?"),
    ),
    case(
        "account without provider",
        YML,
        "      provider: rfc2136\n",
        "",
        error(YML, "main:", "dns", "accounts.main.provider", "nothing"),
    ),
    case(
        "unknown account",
        YML,
        "example.com: main",
        "example.com: mian",
        error(YML, "mian", "dns", "zones.example.com", "Did you mean main?"),
    ),
    case(
        "unused account",
        YML,
        "  zones:",
        "    spare: {provider: manual}\n  zones:",
        warning(YML, "spare", "dns", "accounts.spare", "holds no zone"),
    ),
    case(
        "domain in no zone",
        YML,
        "    example.com: main\n",
        "",
        error(YML, "  example.com:", "example.com", "", "in no zone"),
    ),
    case(
        "fleet in no zone",
        YML,
        "    example.net: main\n",
        "",
        error(YML, "zone: example.net", "fleet", "zone", "which is in no zone"),
    ),
    case(
        "no reverse zone",
        YML,
        "    8.b.d.0.1.0.0.2.ip6.arpa: main\n",
        "",
        warning(EU, '"ipv6"', MTA_EU, "ipv6", "8.b.d.0.1.0.0.2.ip6.arpa in dns.zones"),
    ),
    case(
        "zone of nobody",
        YML,
        "    example.net: main",
        "    example.net: main\n    example.org: main",
        warning(YML, "example.org", "dns", "zones.example.org", "no domain or host"),
    ),
    # domains
    case(
        "no domains",
        YML,
        "domains:\n  example.com:\n    pools: [news]\n    destination: maildir\n"
        "    dmarc: {policy: none, rua: [dmarc@example.com]}\n",
        "domains:\n",
        error(YML, "domains:", "fleet.yml", "domains", "no domain"),
        error("recipients/example.com", "", "example.com", "", "unknown domain"),
        warning(YML, "news:", "pool news", "", "sign for no domain"),
        warning(YML, "example.com: main", "dns", "zones.example.com"),
    ),
    case(
        "domain without an mx",
        YML,
        "    destination:",
        "    mx: []\n    destination:",
        error(YML, "mx: []", "example.com", "mx", "a domain without an mx"),
    ),
    case(
        "unknown mx",
        YML,
        "    destination:",
        "    mx:\n      - mx1.eu.example.net\n      - mx2.eu.example.net\n    destination:",
        error(YML, "mx2.eu", "example.com", "mx[1]", "Did you mean mx1.eu.example.net?"),
    ),
    case(
        "mx of another role",
        YML,
        "    destination:",
        "    mx: [mta1.eu.example.net]\n    destination:",
        error(YML, "mx: [", "example.com", "mx[0]", "which has the role sender"),
    ),
    case(
        "unknown backup_mx",
        YML,
        "    destination:",
        "    backup_mx: [mx9.example.org]\n    destination:",
        error(YML, "mx9", "example.com", "backup_mx[0]", "hosts of the group backup_mx: mx1.us"),
    ),
    case(
        "mx twice",
        YML,
        "    destination:",
        "    mx: [mx1.eu.example.net, mx1.eu.example.net]\n    destination:",
        error(YML, "mx: [", "example.com", "mx[1]", "again"),
    ),
    case(
        "unknown pool of a domain",
        YML,
        "[news]",
        "[news, nwes]",
        error(YML, "nwes", "example.com", "pools[1]", "Did you mean news?"),
    ),
    case(
        "destination that is neither",
        YML,
        "destination: maildir",
        "destination: maildri",
        error(YML, "maildri", "example.com", "destination", "maildir, or smtp:HOST[:PORT]"),
    ),
    case(
        "destination in the fleet",
        YML,
        "destination: maildir",
        "destination: smtp:mx1.eu.example.net:25",
        error(YML, "destination", "example.com", "destination", "in a circle"),
    ),
    case(
        "destination with a wrong port",
        YML,
        "destination: maildir",
        "destination: smtp:[198.18.9.9]:70000",
        error(YML, "destination", "example.com", "destination", "from 1 to 65535"),
    ),
    case(
        "reports that bounce",
        YML,
        "rua: [dmarc@example.com]",
        "rua: [reports@example.com]",
        warning(YML, "rua", "example.com", "dmarc.rua[0]", "no recipient"),
    ),
    # pools and warm-up
    case(
        "unknown schedule",
        YML,
        "schedule: four-week",
        "schedule: four-weeks",
        error(YML, "four-weeks", "pool news", "schedule", "Did you mean four-week?"),
    ),
    case(
        "unused pool",
        YML,
        "domains:\n",
        "  old: {schedule: four-week, target: 500}\ndomains:\n",
        warning(YML, "old:", "pool old", "", "a pool nobody uses"),
    ),
    case(
        "pool without a sender",
        YML,
        "domains:\n  example.com:\n    pools: [news]",
        "  old: {schedule: four-week, target: 500}\n"
        "domains:\n  example.com:\n    pools: [news, old]",
        warning(YML, "old:", "pool old", "", "a pool without a sender"),
    ),
    case(
        "shares over 100 %",
        YML,
        "google: 40",
        "google: 80",
        error(YML, "shares", "warmup", "shares", "shares that sum to 110 %"),
    ),
    case(
        "nothing left for the others",
        YML,
        "google: 40",
        "google: 70",
        error(YML, "schedule", "pool news", "schedule", "0 a day for every other provider"),
    ),
    case(
        "too few to be paced",
        YML,
        "microsoft: 30",
        "microsoft: 2",
        error(YML, "shares", "warmup", "shares.microsoft", "2 % of 200 mails a day"),
    ),
    case(
        "mistyped mailbox provider",
        YML,
        "google: 40",
        "gogle: 40",
        error(YML, "shares", "warmup", "shares.gogle", "Did you mean google?"),
    ),
    case(
        "share of nothing",
        YML,
        "google: 40",
        "google: 0",
        error(YML, "shares", "warmup", "shares.google", "from 1 to 100"),
    ),
    case(
        "caps that do not increase",
        YML,
        "warmup:\n",
        OWN,
        warning(YML, "cap: 90", "warmup", "schedules.own[1].cap", "90 after 100"),
    ),
    case(
        "empty schedule",
        YML,
        "warmup:\n",
        "warmup:\n  schedules: {own: []}\n",
        error(YML, "own: []", "warmup", "schedules.own"),
    ),
    case(
        "name of a built-in schedule",
        YML,
        "warmup:\n",
        "warmup:\n  schedules:\n    four-week: [{cap: 300}]\n",
        warning(YML, "four-week: [", "warmup", "schedules.four-week", "built-in"),
    ),
    # hosts
    case(
        "private address",
        EU,
        "198.51.100.10",
        "10.0.0.10",
        error(EU, "10.0.0.10", MTA_EU, "ipv4", "a private or reserved address"),
        warning(EU, "10.0.0.10", MTA_EU, "ipv4", "reverse zone"),
    ),
    case(
        "carrier NAT address",
        US,
        "198.51.100.138",
        "100.64.0.9",
        error(US, "100.64.0.9", MTA_US, "ipv4", "carrier NAT"),
        warning(US, "100.64.0.9", MTA_US, "ipv4", "reverse zone"),
    ),
    case(
        "multicast address",
        US,
        "198.51.100.138",
        "224.0.1.9",
        error(US, "224.0.1.9", MTA_US, "ipv4", "a multicast address"),
        warning(US, "224.0.1.9", MTA_US, "ipv4", "reverse zone"),
    ),
    case(
        "link-local address",
        EU,
        "2001:db8:1::10",
        "fe80::1",
        error(EU, "fe80::1", MTA_EU, "ipv6", "a link-local address"),
        warning(EU, "fe80::1", MTA_EU, "ipv6", "reverse zone"),
        warning(YML, "8.b.d.0", "dns", "zones.8.b.d.0.1.0.0.2.ip6.arpa", "no address"),
    ),
    case(
        "no address at all",
        EU,
        '"ipv4": "198.51.100.25", ',
        "",
        error(EU, "mx1", MX_EU, "ipv4", "nothing; accepted: an IPv4 address"),
    ),
    case(
        "bad address",
        EU,
        "198.51.100.25",
        "198.51.100.256",
        error(EU, "100.256", MX_EU, "ipv4", "accepted: an IPv4 address"),
    ),
    case(
        "Debian of yesterday",
        EU,
        '"debian": 12',
        '"debian": 11',
        error(EU, '"debian"', MX_EU, "debian", "11; accepted: one of 12, 13"),
    ),
    case(
        "Debian as text",
        EU,
        '"debian": 12',
        '"debian": "12"',
        error(EU, '"debian"', MX_EU, "debian", "one of 12, 13"),
    ),
    case(
        "host data of a strange kind",
        EU,
        '"debian": 12',
        '"debian": object()',
        error(EU, '"debian"', MX_EU, "debian", "a Python object; accepted: one of 12, 13"),
    ),
    case(
        "address twice",
        US,
        "198.51.100.138",
        "198.51.100.10",
        error(US, "198.51.100.10", MTA_US, "ipv4", f"which {MTA_EU} has (inventories/eu.py:5)"),
    ),
    case(
        "hostname twice",
        US,
        "mta1.us",
        "mta1.eu",
        error(US, "mta1.eu", MTA_EU, "name", "the same host again, first in inventories/eu.py:3"),
    ),
    case(
        "two roles",
        US,
        "backup_mx = [",
        'backup_mx = [("mta1.us.example.net", {"ipv4": "198.51.100.138"}),',
        error(US, "backup_mx = [", MTA_US, "name", "the roles sender (inventories/us.py:2) and"),
    ),
    case(
        "ssh_hostname of another host",
        US,
        '"ipv4": "198.51.100.153"',
        '"ipv4": "198.51.100.153", "ssh_hostname": "198.51.100.25"',
        error(US, "ssh_hostname", MX_US, "ssh_hostname", f"the address of {MX_EU}"),
    ),
    case(
        "short hostname",
        US,
        "mta1.us.example.net",
        "mta1",
        error(US, '"mta1"', "mta1", "name", "Perhaps mta1.example.net?"),
    ),
    case(
        "upper case hostname",
        US,
        "mta1.us.example.net",
        "MTA1.us.example.net",
        error(US, "MTA1", "MTA1.us.example.net", "name", "Write it in lower case"),
    ),
    case(
        "digits only",
        US,
        "mta1.us.example.net",
        "12.us.example.net",
        error(US, '"12.us', "12.us.example.net", "name", "Debian's postfix"),
    ),
    case(
        "hostname too long",
        US,
        "mta1.us.example.net",
        "mta1." + "a" * 50 + ".example.net",
        error(US, "aaaa", "mta1." + "a" * 50 + ".example.net", "name", "Linux takes 64"),
    ),
    case(
        "outside the zone",
        US,
        "mta1.us.example.net",
        "mta1.us.example.org",
        error(US, "mta1.us", "mta1.us.example.org", "name", "below the fleet's zone example.net"),
    ),
    case(
        "hostname with an underscore",
        US,
        "mta1.us.example.net",
        "mta_1.us.example.net",
        error(US, "mta_1", "mta_1.us.example.net", "name", "a fully qualified name"),
    ),
    case(
        "host that is a mail domain",
        YML,
        "warmup:",
        "  mx1.eu.example.net: {}\nwarmup:",
        error(EU, "mx1.eu", MX_EU, "name", "which is also a mail domain"),
        warning(YML, "mx1.eu", MX_EU, "", "no recipients"),
    ),
    case(
        "sender without a pool",
        US,
        ', "pool": "news"',
        "",
        error(US, "mta1.us", MTA_US, "pool", "one of the pools of fleet.yml: news"),
    ),
    case(
        "unknown pool of a sender",
        US,
        '"news"',
        '"nws"',
        error(US, "nws", MTA_US, "pool", "Did you mean news?"),
    ),
    case(
        "pool on an mx",
        EU,
        '"debian": 12',
        '"pool": "news"',
        error(EU, "mx1", MX_EU, "pool", "senders only"),
    ),
    case(
        "mistyped host data",
        EU,
        '"debian": 12',
        '"debain": 12',
        warning(EU, "debain", MX_EU, "debain", "Did you mean debian?"),
    ),
    case(
        "password in host data",
        EU,
        '"debian": 12',
        '"ssh_password": "hunter2hunter2"',
        error(EU, "ssh_password", MX_EU, "ssh_password", "not shown"),
    ),
    case(
        "sudo password in host data",
        EU,
        '"debian": 12',
        '"_sudo_password": "hunter2hunter2"',
        error(EU, "_sudo_password", MX_EU, "_sudo_password", "in clear"),
    ),
    case(
        "secret deep in host data",
        EU,
        '"debian": 12',
        '"cloud": {"accounts": [{"API_KEY": "hunter2hunter2"}]}',
        error(EU, "cloud", MX_EU, "cloud", "in clear"),
    ),
    case(
        "secret of every host",
        "inventories/group_data/all.py",
        'ssh_user = "root"',
        'auth_token = "hunter2hunter2"',
        error(
            "inventories/group_data/all.py",
            "auth_token",
            "inventories/group_data/all.py",
            "auth_token",
            "in clear",
        ),
    ),
    case(
        "secret of a group",
        US,
        'backup_mx = [\n    ("mx1.us.example.net", {"ipv4": "198.51.100.153"}),\n]',
        'backup_mx = (\n    [("mx1.us.example.net", {"ipv4": "198.51.100.153"})],\n'
        '    {"private_key": "hunter2hunter2"},\n)',
        error(US, "backup_mx", "us backup_mx", "private_key", "in clear"),
    ),
    case(
        "what is no secret in clear",
        EU,
        '"debian": 12',
        '"ssh_key": "~/.ssh/id", "password_file": "/x", "token": "", "secret": None, "bypass": "x"',
    ),
    *(
        case(
            f"{name} {value}",
            EU,
            '"debian": 12',
            f'"{name}": {value}',
            error(EU, name, MX_EU, name, says),
        )
        for name, value, says in (
            ("ssh_hostname", "22", "22; accepted: a host name or an address"),
            ("ssh_hostname", '"root@mx"', "accepted: a host name or an address"),
            ("ssh_hostname", '""', "accepted: a host name or an address"),
            ("ssh_port", '"22"', '"22"; accepted: a whole number from 1 to 65535'),
            ("ssh_port", "70000", "70000; accepted: a whole number"),
            ("ssh_port", "True", "accepted: a whole number"),
            ("ssh_user", "0", "0; accepted: the name of a user"),
            ("ssh_key", '["~/.ssh/id"]', "a Python list; accepted: the path"),
            ("ssh_key", '"-----BEGIN\\nhunter2hunter2"', "not shown"),
        )
    ),
    case(
        "right SSH data",
        EU,
        '"debian": 12',
        '"ssh_hostname": "fe80::1%eth0", "ssh_port": 2222, "ssh_user": "root", "ssh_key": None',
    ),
    case(
        "backup_mx without an mx",
        EU,
        "mx = [\n    ",
        "_mx = [\n    ",
        error(US, "mx1.us", MX_US, "", "a fleet without any mx"),
        error(YML, "  example.com:", "example.com", "mx", "a domain without an mx"),
    ),
    # inventories as files
    case(
        "mistyped group",
        EU,
        "senders = [",
        "sender = [",
        error(EU, "sender = [", "eu", "sender", "Did you mean senders?"),
    ),
    case(
        "group in the plural",
        US,
        "backup_mx = [",
        "backup_mxs = [",
        error(US, "backup_mxs = [", "us", "backup_mxs", "Did you mean backup_mx?"),
    ),
    case(
        "stray list",
        EU,
        "mx = [",
        'SELECTORS = ["s1", "s2"]\nmx = [',
        warning(EU, "SELECTORS", "eu", "SELECTORS", "starts with an underscore"),
    ),
    case("extra group of ours", EU, "mx = [", 'canary = ["mta1.eu.example.net"]\nmx = ['),
    case("private list", EU, "mx = [", '_LIST = ["a", "b"]\nmx = ['),
    case("list of numbers", EU, "mx = [", "PORTS = [1, 2]\nmx = ["),
    case(
        "host data that is a list",
        EU,
        '{"ipv4": "198.51.100.25", "debian": 12}',
        '["198.51.100.25"]',
        error(EU, "mx = [", "eu", "mx", '(str, list); accepted: ("host.name", {data})'),
    ),
    case(
        "host that is a number",
        EU,
        "mx = [",
        "mx = [\n    42,",
        error(EU, "mx = [", "eu", "mx", "an item that is a int"),
    ),
    case(
        "group that is a dictionary",
        US,
        'backup_mx = [\n    ("mx1.us.example.net", {"ipv4": "198.51.100.153"}),\n]',
        'backup_mx = {"mx1.us.example.net": {"ipv4": "198.51.100.153"}}',
        error(US, "backup_mx", "us", "backup_mx", "a dict"),
    ),
    case(
        "forgotten brackets",
        US,
        'backup_mx = [\n    ("mx1.us.example.net", {"ipv4": "198.51.100.153"}),\n]',
        'backup_mx = ("mx1.us.example.net", {"ipv4": "198.51.100.153"})',
        error(US, "backup_mx", "us", "backup_mx", 'a list of ("host.name", {data})'),
    ),
    case(
        "inventory that raises",
        EU,
        "mx = [",
        "def _boom():\n    return 1 / 0\n\n\n_boom()\nmx = [",
        error(EU, "1 / 0", EU, "", "it raises ZeroDivisionError: division by zero"),
    ),
    case(
        "inventory that is no Python",
        US,
        "senders = [",
        "senders = [[",
        error(US, "senders = [[", US, "", "it raises SyntaxError"),
    ),
    case(
        "inventory that exits",
        US,
        "senders = [",
        'raise SystemExit("no token")\nsenders = [',
        error(US, "raise SystemExit", US, "", "it raises SystemExit: no token"),
    ),
    # recipients
    case(
        "bad recipient",
        "recipients/example.com",
        "alice",
        "alice smith",
        error("recipients/example.com", "alice smith", "example.com", "", "a local part, or"),
    ),
    case(
        "recipient of another domain",
        "recipients/example.com",
        "alice",
        "alice@example.org",
        error("recipients/example.com", "alice", "example.com", "", "recipients/example.org"),
    ),
    case(
        "catch-all",
        "recipients/example.com",
        "alice",
        "*",
        error("recipients/example.com", "*", "example.com", "", "backscatter"),
    ),
    case(
        "comment behind a recipient",
        "recipients/example.com",
        "alice",
        "alice # the boss",
        error("recipients/example.com", "alice", "example.com", "", "a line of its own"),
    ),
    case(
        "recipient twice",
        "recipients/example.com",
        "alice",
        "alice\nAlice@example.com",
        warning("recipients/example.com", "Alice@", "example.com", "", "first in line 2"),
    ),
]

_PLACE = re.compile(r"^[^:\s]+(:\d+)?: (error|warning): ")


def line_of(directory: Path, expected: Expected) -> int | None:
    """The line that an expectation names, found by its text."""
    if not expected.line:
        return None
    lines = (directory / expected.file).read_text().splitlines()
    found = [number for number, line in enumerate(lines, 1) if expected.line in line]
    assert found, f"no line of {expected.file} has {expected.line!r}"
    return found[-1] if expected.line.startswith("  ") else found[0]


def key(problem: Problem) -> tuple[str, str, int | None, str, str]:
    return (problem.severity, problem.file, problem.line, problem.subject, problem.field)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_mistake(case: Case, write_fleet: Callable[..., Path]) -> None:
    directory = write_fleet()
    path = directory / case.file
    text = path.read_text()
    assert text.count(case.old) == 1, f"{case.old!r} occurs {text.count(case.old)} times"
    path.write_text(text.replace(case.old, case.new))

    fleet, problems = inspect(directory, in_lab=True)

    wanted = [
        (e.severity, e.file, line_of(directory, e), e.subject, e.field) for e in case.expected
    ]
    told = "\n".join(map(str, problems))
    assert sorted(map(key, problems), key=str) == sorted(wanted, key=str), told
    for expected in case.expected:
        assert any(
            expected.says in str(problem)
            for problem in problems
            if (problem.subject, problem.field) == (expected.subject, expected.field)
        ), told
    assert all(_PLACE.match(str(problem)) for problem in problems)
    assert "hunter2" not in told
    assert (fleet is None) == any(e.severity == "error" for e in case.expected)
