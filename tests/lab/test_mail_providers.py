"""The mailbox providers in the lab: real Postfix on one side, the simulators on the other."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mailfleet.fleet.model import Fleet, Host, Role
from mailfleet.lab import mailboxes
from mailfleet.lab.lab import Lab
from mailfleet.lab.mail import Job, compose
from mailfleet.lab.post import from_world
from mailfleet.lab.providers import behaviour, store
from mailfleet.lab.providers.catalogue import GOOGLE, MICROSOFT, PROVIDERS
from mailfleet.lab.world import CONTROL

pytestmark = pytest.mark.lab
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def mailfleet(lab: Lab) -> Iterator[Command]:
    """`mailfleet lab …` for this lab, from outside it; the providers accept again afterwards."""

    def run(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [str(Path(sys.executable).with_name("mailfleet")), "lab", *arguments],
            env={**os.environ, "MAILFLEET_LAB_DIR": str(lab.layout.directory)},
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    yield run
    for name in PROVIDERS:
        behaviour.save(mailboxes.directory(lab.layout, name), behaviour.Behaviour())


@pytest.fixture
def unpaced(deployed: Lab, fleet: Fleet) -> Iterator[Lab]:
    """The deployed lab with the warm-up's delays lifted, and put back afterwards."""
    before = {}
    names = [f"warm-{provider}_transport_rate_delay" for provider in PROVIDERS]
    for host in fleet.with_role(Role.SENDER):
        for name in names:
            before[host.name, name] = deployed.ssh(host.name, f"postconf -h {name}").stdout.strip()
        settings = " ".join(f"{name}=0s" for name in names)
        deployed.ssh(host.name, f"postconf -e {settings} && postfix reload")
    yield deployed
    for (host_name, name), value in before.items():
        deployed.ssh(host_name, f"postconf -e {name}={value}")
    for host in fleet.with_role(Role.SENDER):
        deployed.ssh(host.name, "postfix reload")


def _sent(mailfleet: Command, *arguments: str) -> Any:
    return json.loads(mailfleet("send", *arguments, "--wait", "60", "--json").stdout)


@pytest.mark.parametrize("provider", [GOOGLE, MICROSOFT], ids=lambda p: p.name)
def test_the_world_posts_as_a_provider(mailfleet: Command, provider: Any) -> None:
    other = MICROSOFT if provider is GOOGLE else GOOGLE
    sender, to = f"alice@{provider.domain}", f"bob@{other.domain}"
    record = _sent(mailfleet, "--from", sender, "--to", to)["arrival"]["message"]
    verdicts = record["verdicts"]
    assert verdicts["peer"]["address"] == provider.ipv4
    assert verdicts["peer"]["ptr"] == verdicts["peer"]["helo"] == provider.mx
    assert [verdicts[name]["result"] for name in ("spf", "spf_helo", "dmarc")] == ["pass"] * 3
    assert record["tls"]["version"] == "TLSv1.3"
    listing = mailfleet("inbox", other.name, "--last", "1").stdout
    assert sender in listing
    assert record["id"] in listing


def test_somebody_elses_address_is_found_out(lab: Lab) -> None:
    address = str(CONTROL[0])
    job = Job(
        sender="alice@gmail.com",
        recipient="bob@outlook.com",
        message=compose("alice@gmail.com", "bob@outlook.com", "forged", "x\n"),
        helo=GOOGLE.mx,
        sources=(address,),
    )
    transcript = from_world(lab, job)
    assert transcript.accepted
    record = store.find(mailboxes.directory(lab.layout, "microsoft"), transcript.message_id)
    assert record is not None
    assert record.verdicts.peer.address == address
    assert record.verdicts.spf.result == "fail"
    assert record.verdicts.dmarc.result == "fail"
    assert not record.verdicts.peer.helo_is_ptr


def test_required_authentication(mailfleet: Command) -> None:
    mailfleet("provider", "microsoft", "authentication", "required")
    arguments = ["send", "--as", "google", "--from", "ceo@example.net", "--to", "bob@outlook.com"]
    done = mailfleet(*arguments, check=False)
    assert done.returncode == 1
    assert "5.7." in done.stdout
    assert "ceo@example.net" in mailfleet("inbox", "microsoft", "--refused").stdout
    mailfleet("send", "--from", "alice@gmail.com", "--to", "bob@outlook.com")


def test_dnssec_signed_answers_are_used(lab: Lab) -> None:
    """The simulators ask the lab's servers, whose zones another client finds signed."""
    done = lab.run(["kdig", "@198.18.0.53", "+dnssec", "gmail.com", "MX"])
    assert GOOGLE.mx in done.stdout
    assert "RRSIG" in done.stdout


@pytest.mark.parametrize("provider", [GOOGLE, MICROSOFT], ids=lambda p: p.name)
def test_mail_of_every_sender_passes_everything(
    unpaced: Lab, fleet: Fleet, mailfleet: Command, provider: Any
) -> None:
    for host in fleet.with_role(Role.SENDER):
        for domain in fleet.domains_of(host):
            author = f"news@{domain.name}"
            arguments = ["--via", host.name, "--from", author, "--to", f"bob@{provider.domain}"]
            record = _sent(mailfleet, *arguments)["arrival"]["message"]
            _all_pass(record, host, domain.name)


def _all_pass(record: Any, host: Host, domain: str) -> None:
    verdicts = record["verdicts"]
    assert verdicts["spf"]["result"] == "pass"
    [signature] = verdicts["dkim"]
    assert (signature["result"], signature["domain"]) == ("pass", domain)
    assert signature["key_bits"] >= 2048
    assert verdicts["dmarc"]["result"] == "pass"
    assert verdicts["dmarc"]["spf_aligned"]
    assert verdicts["dmarc"]["dkim_aligned"]
    peer = verdicts["peer"]
    assert peer["reverse"] == "pass"
    assert peer["ptr"] == peer["helo"] == host.name
    assert peer["address"] in {str(address) for address in host.addresses}
    assert record["tls"] is not None
    assert record["folder"] == "inbox"


def test_a_deferred_message_is_kept_and_tried_again(
    unpaced: Lab, fleet: Fleet, mailfleet: Command
) -> None:
    host = fleet.with_role(Role.SENDER)[0]
    author = f"news@{fleet.domains_of(host)[0].name}"
    mailfleet("provider", "google", "defer", "--address", host.name)
    done = mailfleet(
        *("send", "--via", host.name, "--from", author, "--to", "bob@gmail.com"),
        *("--subject", "deferred once", "--wait", "8", "--json"),
    )
    arrival = json.loads(done.stdout)["arrival"]
    assert arrival["message"] is None
    assert {attempt["code"] for attempt in arrival["attempts"]} == {421}
    queue = unpaced.ssh(host.name, "postqueue -p").stdout
    assert "unusual rate of unsolicited mail" in queue
    mailfleet("provider", "google", "accept")
    directory = mailboxes.directory(unpaced.layout, "google")
    for _ in range(30):
        unpaced.ssh(host.name, "postqueue -f; sleep 1")
        if any(m.subject == "deferred once" for m in store.messages(directory, 5)):
            break
    [found] = [m for m in store.messages(directory, 5) if m.subject == "deferred once"]
    assert found.verdicts.dkim_result == "pass"


def test_a_rejected_message_bounces(unpaced: Lab, fleet: Fleet, mailfleet: Command) -> None:
    host = fleet.with_role(Role.SENDER)[0]
    author = f"news@{fleet.domains_of(host)[0].name}"
    mailfleet("provider", "microsoft", "reject", "--recipient", "nobody@outlook.com")
    done = mailfleet(
        *("send", "--via", host.name, "--from", author, "--to", "nobody@outlook.com"),
        *("--wait", "30"),
        check=False,
    )
    assert done.returncode == 1
    assert "550 at rcpt" in done.stdout
    log = unpaced.ssh(host.name, "journalctl --no-pager -t postfix/warm-microsoft/smtp -n 50")
    assert re.search(r"dsn=5\.5\.0.*mailbox unavailable", log.stdout)


def test_a_complaint_comes_back_to_the_fleet(
    unpaced: Lab, fleet: Fleet, mailfleet: Command
) -> None:
    host = fleet.with_role(Role.SENDER)[0]
    domain = fleet.domains_of(host)[0].name
    mailfleet("provider", "google", "complain", "--count", "1")
    arguments = ["--via", host.name, "--from", f"news@{domain}", "--to", "bob@gmail.com"]
    record = _sent(mailfleet, *arguments)["arrival"]["message"]
    directory = mailboxes.directory(unpaced.layout, "google")
    told = None
    for _ in range(60):
        told = next((c for c in store.complaints(directory) if c.id == record["id"]), None)
        if told:
            break
        unpaced.ssh(host.name, "sleep 1")
    assert told is not None
    assert told.delivered, told.reply
    assert told.to == f"abuse@{domain}"
    mx = fleet.mx_of(fleet.domain(domain))[0]
    look = f"grep -rlF -- '{record['message_id']}' /var/mail/vhosts"
    [path] = unpaced.ssh(mx.name, look).stdout.split()
    report = unpaced.ssh(mx.name, ["cat", path]).stdout
    assert "Feedback-Type: abuse" in report
    assert f"Source-IP: {record['verdicts']['peer']['address']}" in report
