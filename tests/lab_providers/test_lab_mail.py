"""The sending side: MX lookup, preference, fallback, and every host's own words."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from email import message_from_bytes
from email.policy import default
from hashlib import md5, sha256
from pathlib import Path

import pytest
from lab_dns_server import SERVFAIL, DnsServer
from lab_simulator import Simulator

from mailfleet.lab.mail import Job, Transcript, compose, eicar, gtube, message_id, send
from mailfleet.lab.providers.behaviour import Rule
from mailfleet.lab.providers.resolver import Resolver, split_endpoint

ROOT = Path(__file__).resolve().parents[2]


def _job(recipient: str, port: int, **fields: object) -> Job:
    message = compose("alice@example.com", recipient, "Hello", "Text.\n")
    return Job.model_validate(
        {
            "sender": "alice@example.com",
            "recipient": recipient,
            "message": message,
            "helo": "mta1.eu.example.net",
            "port": port,
            **fields,
        }
    )


@pytest.fixture
def mx(zone: DnsServer) -> DnsServer:
    """customer.example has two MX hosts: one that is away, then the provider."""
    zone.add(
        "customer.example", "MX", "20 gmail-smtp-in.l.google.com.", "10 away.customer.example."
    )
    zone.add("away.customer.example", "A", "127.0.0.9")
    zone.add("gmail-smtp-in.l.google.com", "A", "127.0.0.1")
    zone.remove("gmail-smtp-in.l.google.com", "AAAA")
    return zone


def test_fallback_to_the_next_host(mx: DnsServer, resolver: Resolver, google: Simulator) -> None:
    transcript = send(_job("bob@customer.example", google.port), resolver)
    assert [(t.host, t.step, t.accepted) for t in transcript.tries] == [
        ("away.customer.example", "connect", False),
        ("gmail-smtp-in.l.google.com", "data", True),
    ]
    assert transcript.accepted
    assert transcript.tries[0].code is None
    assert transcript.tries[1].tls == "TLSv1.3"
    assert google.messages[0].message_id == transcript.message_id
    assert google.messages[0].envelope.sender == "alice@example.com"


@pytest.mark.parametrize(
    ("rule", "step", "code"),
    [
        (Rule(action="reject"), "data", 550),
        (Rule(action="reject", recipients=("*",)), "rcpt", 550),
        (Rule(action="reject", words="microsoft-block"), "mail", 550),
    ],
)
def test_a_refusal_for_good_ends_it(
    zone: DnsServer, resolver: Resolver, google: Simulator, rule: Rule, step: str, code: int
) -> None:
    google.tell(rule)
    zone.add("two.example", "MX", "10 gmail-smtp-in.l.google.com.", "20 other.example.")
    zone.add("gmail-smtp-in.l.google.com", "A", "127.0.0.1")
    zone.remove("gmail-smtp-in.l.google.com", "AAAA")
    [only] = send(_job("bob@two.example", google.port), resolver).tries
    assert (only.step, only.code, only.accepted, only.final) == (step, code, False, True)


def test_a_deferral_goes_on_to_the_next_host(
    mx: DnsServer, resolver: Resolver, google: Simulator
) -> None:
    google.tell(Rule(action="defer"))
    transcript = send(_job("bob@customer.example", google.port), resolver)
    assert [t.code for t in transcript.tries] == [None, 421]
    assert not transcript.accepted
    assert "unusual rate" in transcript.tries[1].reply


def test_chosen_hosts_replace_the_mx(resolver: Resolver, google: Simulator) -> None:
    job = _job("bob@gmail.com", google.port, hosts=("127.0.0.1",))
    assert send(job, resolver).accepted


def test_without_mx_the_domain_itself(
    zone: DnsServer, resolver: Resolver, google: Simulator
) -> None:
    zone.add("plain.example", "A", "127.0.0.1")
    transcript = send(_job("bob@plain.example", google.port), resolver)
    assert transcript.tries[0].host == "plain.example"
    assert "Relay" in transcript.tries[0].reply


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda zone: zone.add("gone.example", "MX", "0 ."), "null MX"),
        (lambda zone: zone.failing.update({"gone.example": SERVFAIL}), "SERVFAIL"),
        (lambda zone: None, "no address"),
    ],
    ids=["null MX", "failing", "nothing"],
)
def test_dns_that_leads_nowhere(
    zone: DnsServer, resolver: Resolver, spoil: Callable[[DnsServer], None], words: str
) -> None:
    spoil(zone)
    [only] = send(_job("bob@gone.example", 25), resolver).tries
    assert (only.step, only.code, words in only.reply) == ("dns", None, True)


def test_the_source_address_is_the_one_asked_for(resolver: Resolver, google: Simulator) -> None:
    job = _job("bob@gmail.com", google.port, hosts=("127.0.0.1",), sources=("127.0.0.5", "::1"))
    assert send(job, resolver).accepted
    assert google.messages[0].verdicts.peer.address == "127.0.0.5"


def test_a_bounce_and_eight_bit_text(resolver: Resolver, google: Simulator) -> None:
    message = compose("mailer@example.com", "müller@gmail.com", "Grüße", "Größe\n")
    job = _job("müller@gmail.com", google.port, hosts=("127.0.0.1",), sender="", message=message)
    assert send(job, resolver).accepted
    [found] = google.messages
    assert found.envelope.sender == ""
    assert found.envelope.recipients == ("müller@gmail.com",)
    assert found.subject == "Grüße"


def test_a_peer_that_talks_nonsense(resolver: Resolver) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        job = _job("bob@gmail.com", server.getsockname()[1], hosts=("127.0.0.1",))

        def answer() -> None:
            peer, _ = server.accept()
            peer.sendall(b"hello\r\n")
            peer.close()

        thread = threading.Thread(target=answer)
        thread.start()
        [only] = send(job, resolver).tries
        thread.join()
    assert not only.accepted


def test_as_a_process(zone: DnsServer, google: Simulator) -> None:
    """As the commands run it inside the lab: a job in, a transcript out."""
    job = _job("bob@gmail.com", google.port, hosts=("127.0.0.1",), dns=(zone.endpoint,))
    done = subprocess.run(
        [sys.executable, "-m", "mailfleet.lab.mail"],
        input=job.model_dump_json(),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert Transcript.model_validate_json(done.stdout).accepted
    assert json.loads(done.stdout)["recipient"] == "bob@gmail.com"


def test_binary_messages_survive_the_job() -> None:
    job = _job("bob@gmail.com", 25, message=b"\xff\x00\r\n")
    assert Job.model_validate_json(job.model_dump_json()) == job


def test_composed_messages() -> None:
    message = compose("a@example.com", "b@example.org", "Hi", "x\n", ("f.com", b"\x00content"))
    assert b"\n" not in message.replace(b"\r\n", b"")
    mail = message_from_bytes(message, policy=default)
    assert mail["Message-ID"] == message_id(message)
    assert mail["Message-ID"].endswith("@example.com>")
    [attachment] = mail.iter_attachments()
    assert (attachment.get_filename(), attachment.get_content()) == ("f.com", b"\x00content")


def test_test_strings() -> None:
    """The published lengths and digests; the strings themselves are in no file."""
    assert len(eicar()) == len(gtube()) == 68
    assert md5(eicar().encode()).hexdigest() == "44d88612fea8a8f36de82e1278abb02f"
    assert sha256(eicar().encode()).hexdigest().startswith("275a021bbfb6489e54d471899f7db9d1")
    assert gtube().count("*") == 4
    assert "GTUBE" in gtube()


def test_the_private_signature_is_of_the_test_virus() -> None:
    name, target, offset, pattern = (ROOT / "clamav/eicar.ndb").read_text().strip().split(":")
    assert (name, target, offset) == ("Mailfleet.Lab.EICAR", "0", "*")
    assert bytes.fromhex(pattern).decode() == eicar()


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("127.0.0.1", ("127.0.0.1", 25)),
        ("127.0.0.1@53", ("127.0.0.1", 53)),
        ("::1", ("::1", 25)),
        ("2001:db8:0:18::53@5353", ("2001:db8:0:18::53", 5353)),
    ],
)
def test_endpoints(text: str, endpoint: tuple[str, int]) -> None:
    assert split_endpoint(text, 25) == endpoint


@pytest.mark.parametrize("text", ["", "mx.example.com", "127.0.0.1@", "127.0.0.1@x", "1.2.3.4@-1"])
def test_bad_endpoints(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        split_endpoint(text, 25)
