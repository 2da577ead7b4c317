"""`mailfleet dns` as a person and as a program use it, against a real server on the loopback."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from dns_fleets import PUBLIC_KEYS, ZONES
from dns_nameservers import Nameserver, need, running

import mailfleet.dns.api as dns_api
from mailfleet.cli.main import main
from mailfleet.dns.servers import Authorities
from mailfleet.fleet.load import load

FLEET = """
fleet:
  name: test
  zone: example.net
  contact: postmaster@example.com
  management_networks: [198.18.0.0/24]
dns:
  ttl: 3600
  accounts:
    primary:
      provider: rfc2136
      server: 127.0.0.1
      port: {port}
      key_name: mailfleet
      secret: env:MAILFLEET_TEST_TSIG
  zones:
    example.net: primary
    example.com: primary
    100.51.198.in-addr.arpa: primary
    8.b.d.0.1.0.0.2.ip6.arpa: primary
pools:
  bulk: {{schedule: four-week, target: 1000}}
domains:
  example.com:
    pools: [bulk]
    dmarc: {{policy: quarantine}}
"""
INVENTORY = """
senders = [("mta1.eu.example.net", {"ipv4": "198.51.100.10", "ipv6": "2001:db8:1::10",
                                    "pool": "bulk"})]
mx = [("mx1.eu.example.net", {"ipv4": "198.51.100.25"})]
"""
KEY_RECORD = {
    "host": "mta1.eu.example.net",
    "keys": [{"selector": "mta1-eu-202611", "public_key": PUBLIC_KEYS[0], "state": "active"}],
}
TOKEN = '@ IN TXT "token of somebody else"\n'


@dataclass(frozen=True)
class Here:
    """A fleet directory and the server that holds its zones."""

    directory: Path
    server: Nameserver

    def run(self, *words: str, **kwargs: Any) -> Result:
        load.cache_clear()
        args = ["dns", *words, "--fleet", str(self.directory)]
        return CliRunner().invoke(main, args, **kwargs)

    def edit(self, old: str, new: str) -> None:
        path = self.directory / "fleet.yml"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    def record_key(self) -> None:
        path = self.directory / "state" / "dkim" / "mta1.eu.example.net.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(KEY_RECORD))


@pytest.fixture
def directory(tmp_path: Path) -> Callable[[int], Path]:
    def make(port: int) -> Path:
        path = tmp_path / "fleet"
        (path / "inventories").mkdir(parents=True)
        (path / "recipients").mkdir()
        (path / "fleet.yml").write_text(FLEET.format(port=port))
        (path / "inventories" / "eu.py").write_text(INVENTORY)
        (path / "recipients" / "example.com").write_text("info\n")
        return path

    return make


@pytest.fixture
def here(
    tmp_path: Path, directory: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Here]:
    need("knot")
    zones = {zone: TOKEN if zone == "example.com" else "" for zone in ZONES}
    with running("knot", tmp_path / "knot", zones) as server:
        monkeypatch.setenv("MAILFLEET_LAB", "1")
        monkeypatch.setattr("mailfleet.fleet.addresses.is_ours", lambda address: True)
        monkeypatch.setenv("MAILFLEET_TEST_TSIG", server.secret)
        found = Authorities(_only_first(server), server.port, 1.0)
        monkeypatch.setattr(dns_api, "Authorities", lambda: found)
        yield Here(directory(server.port), server)


def _only_first(server: Nameserver) -> Any:
    return server.resolver()


@pytest.fixture
def offline(
    tmp_path: Path, directory: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> Here:
    monkeypatch.delenv("MAILFLEET_LAB", raising=False)
    return Here(directory(1), Nameserver("none", "127.0.0.1", 1, "", tmp_path))


def test_the_whole_way(here: Here) -> None:
    here.record_key()
    shown = here.run("plan")
    assert shown.exit_code == 0, shown.output
    assert "+ example.com MX 3600" in shown.output
    assert "(keeps 1 value of others)" in shown.output
    assert here.server.ask("example.com", "MX") == set()

    done = here.run("apply", "--yes")
    assert done.exit_code == 0, done.output
    assert "13 changes in 4 zones." in done.output
    assert here.server.ask("example.com", "MX") == {"10 mx1.eu.example.net."}
    assert here.server.ask("example.com", "TXT") == {
        '"token of somebody else"',
        '"v=spf1 include:_spf.example.net ~all"',
    }
    assert here.server.ask("10.100.51.198.in-addr.arpa", "PTR") == {"mta1.eu.example.net."}

    again = here.run("plan")
    assert (again.exit_code, again.output) == (0, "No changes.\n")
    assert here.run("apply", "--yes").output == "No changes.\n"


def test_verify_says_what_agrees(here: Here) -> None:
    here.record_key()
    # ns2.test is not running here: it is silent, and so named.
    assert here.run("apply", "--yes").exit_code == 0
    seen = here.run("verify", "--timeout", "0")
    assert seen.exit_code == 1
    assert "applied    ok: 13 RRsets" in seen.output
    assert "published  ok" in seen.output
    assert "ns2.test (127.0.0.2)" in seen.output
    assert "reverse    ok: 3 addresses" in seen.output
    as_json = json.loads(here.run("verify", "--timeout", "0", "--json").stdout)
    assert as_json["ok"] is False
    assert as_json["applied"] == as_json["published"] == as_json["reverse"] == []
    assert {row["where"] for row in as_json["agreed"]} == {"ns2.test (127.0.0.2)"}


def test_a_saved_plan_is_applied_exactly_once_and_refused_when_the_world_moved(here: Here) -> None:
    file = here.directory / "plan.json"
    assert here.run("plan", "--out", str(file), "--only", "addresses").exit_code == 0
    assert here.run("apply", str(file), "--yes").exit_code == 0
    assert here.server.ask("mta1.eu.example.net", "A") == {"198.51.100.10"}
    assert here.server.ask("example.com", "MX") == set()
    again = here.run("apply", str(file), "--yes")
    assert again.exit_code == 0
    assert "0 changes in 0 zones, 8 were so already." in again.output

    rest = here.directory / "rest.json"
    assert here.run("plan", "--out", str(rest)).exit_code == 0
    other = here.run("apply", "--yes")
    assert other.exit_code == 0
    here.edit("ttl: 3600", "ttl: 300")
    stale = here.run("apply", str(rest), "--yes")
    assert stale.exit_code == 2
    assert "have changed since this plan was made" in stale.output


def test_an_edited_plan_is_refused(here: Here) -> None:
    file = here.directory / "plan.json"
    here.run("plan", "--out", str(file))
    file.write_text(file.read_text().replace("198.51.100.10", "198.51.100.99"))
    refused = here.run("apply", str(file), "--yes")
    assert refused.exit_code == 2
    assert "changed after it was made" in refused.output
    assert str(file) in refused.output


def test_a_foreign_value_and_the_way_out(here: Here) -> None:
    here.run("apply", "--yes")
    # Somebody else took our place, and the ledger is lost.
    (here.directory / "state" / "dns-ledger.json").unlink()
    here.edit("quarantine", "reject")
    refused = here.run("plan")
    assert refused.exit_code == 1
    assert "somebody else's value is in our place" in refused.output
    assert "--adopt _dmarc.example.com/TXT" in refused.output
    as_json = json.loads(here.run("plan", "--json").stdout)
    assert [row["rule"] for row in as_json["refused"]] == ["foreign"]
    adopted = here.run("apply", "--yes", "--adopt", "_dmarc.example.com/TXT")
    assert adopted.exit_code == 0, adopted.output
    assert here.server.ask("_dmarc.example.com", "TXT") == {'"v=DMARC1; p=reject"'}
    assert here.run("plan").output.startswith("No changes.")


def test_asking_first(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = here.run("apply", input="y\n")  # a pipe, not a person
    assert nobody.exit_code == 2
    assert "--yes" in nobody.output
    assert here.server.ask("example.com", "MX") == set()
    monkeypatch.setattr("mailfleet.cli.common.terminal", lambda: True)
    refused = here.run("apply", input="n\n")
    assert refused.exit_code == 1
    assert re.search(r"Apply \d+ changes\?", refused.output)
    assert here.server.ask("example.com", "MX") == set()
    assert here.run("apply", input="y\n").exit_code == 0
    assert here.server.ask("example.com", "MX") == {"10 mx1.eu.example.net."}


def test_json_all_the_way(here: Here) -> None:
    planned = json.loads(here.run("plan", "--json").stdout)
    assert planned["waiting"] == ["mta1.eu.example.net"]
    asked = here.run("apply", "--json")
    assert asked.exit_code == 2
    done = json.loads(here.run("apply", "--json", "--yes").stdout)
    assert done["failed"] == {}
    assert sum(done["written"].values()) == 12
    assert done["plan"]["sha256"] == planned["sha256"]
    nothing = json.loads(here.run("apply", "--json", "--yes").stdout)
    assert nothing["written"] == {}


def test_keys_are_waited_for_without_an_error(here: Here) -> None:
    shown = here.run("plan")
    assert shown.exit_code == 0
    assert "Waiting for the key of mta1.eu.example.net: deploy it first." in shown.output
    assert "_domainkey" not in shown.output


def test_a_wrong_secret_and_a_missing_one(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = base64.b64encode(b"w" * 32).decode()
    monkeypatch.setenv("MAILFLEET_TEST_TSIG", wrong)
    refused = here.run("plan")
    assert refused.exit_code == 1
    assert "BADSIG" in refused.output
    assert wrong not in refused.output
    monkeypatch.delenv("MAILFLEET_TEST_TSIG")
    missing = here.run("plan")
    assert missing.exit_code == 2
    assert "MAILFLEET_TEST_TSIG is not set" in missing.output


def test_an_unreachable_server_ends_with_3_and_is_named_once(
    offline: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAILFLEET_LAB", "1")
    monkeypatch.setattr("mailfleet.fleet.addresses.is_ours", lambda address: True)
    monkeypatch.setenv("MAILFLEET_TEST_TSIG", base64.b64encode(b"w" * 32).decode())
    failed = offline.run("plan")
    assert failed.exit_code == 3
    assert failed.output.count("127.0.0.1 port 1") == 1
    assert "example.net, " in failed.output


@pytest.mark.parametrize("words", [["plan"], ["apply", "--yes"], ["verify"]])
def test_outside_the_lab_documentation_addresses_are_refused(
    offline: Here, words: list[str]
) -> None:
    refused = offline.run(*words)
    assert refused.exit_code == 2
    assert "mailfleet lab run" in refused.output


def test_offline_needs_nothing(offline: Here) -> None:
    shown = offline.run("plan", "--offline")
    assert shown.exit_code == 0, shown.output
    assert shown.output.startswith("Offline: planned as if every zone were empty")
    file = offline.directory / "plan.json"
    offline.run("plan", "--offline", "--out", str(file))
    assert json.loads(file.read_text())["offline"] is True


def test_show(offline: Here) -> None:
    offline.record_key()
    shown = offline.run("show", "example.com")
    assert shown.exit_code == 0
    assert "example.com MX   (example.com)" in shown.output
    assert "10.100.51.198" not in shown.output
    zone = offline.run("show", "--zone-file").output
    assert "example.com. 3600 IN MX 10 mx1.eu.example.net." in zone
    rows = json.loads(offline.run("show", "--json").stdout)
    assert {row["type"] for row in rows["claims"]} == {"A", "AAAA", "MX", "PTR", "TXT"}
    unknown = offline.run("show", "example.edu")
    assert unknown.exit_code == 2
    assert "example.com" in unknown.output


def test_the_zone_file_is_one(offline: Here) -> None:
    import dns.zone  # noqa: PLC0415

    offline.record_key()
    text = offline.run("show", "example.com", "--zone-file").output
    head = "@ 60 IN SOA ns1.example.com. h.example.com. 1 1 1 1 1\n@ 60 IN NS ns1.example.com.\n"
    zone = dns.zone.from_text(head + text, origin="example.com.", check_origin=False)
    key = zone.find_rdataset("mta1-eu-202611._domainkey", "TXT")
    assert PUBLIC_KEYS[0].encode() in b"".join(key[0].strings)


@pytest.mark.parametrize("option", ["--adopt", "--release"])
def test_a_bad_name_is_a_usage_error(offline: Here, option: str) -> None:
    refused = offline.run("plan", "--offline", option, "example.com")
    assert refused.exit_code == 2
    assert "is not NAME/TYPE" in refused.output


def test_importing_it_is_quick_enough_for_every_command(offline: Here) -> None:
    """checkdmarc costs half a second and is imported only when SPF changes."""
    code = "import sys, mailfleet.cli.dns; print('checkdmarc' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout == "False\n"
