"""The roles `spamassassin` and `clamav` on real hosts: judged by SMTP, from outside."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest

from mailfleet.fleet.model import Fleet
from mailfleet.lab.lab import Lab

pytestmark = pytest.mark.lab

# Runs on the control machine: sends one message and prints the answer to DATA and its seconds.
SEND = r"""
import json, smtplib, sys, time
address, body = sys.argv[1], sys.stdin.read()
begin = time.monotonic()
with smtplib.SMTP(address, 25, timeout=60, local_hostname="control.lab.test") as smtp:
    smtp.ehlo()
    smtp.mail("someone@control.lab.test")
    smtp.rcpt("postmaster@example.com")
    code, words = smtp.data(
        "From: Someone <someone@control.lab.test>\r\nTo: postmaster@example.com\r\n"
        f"Subject: A question about an order\r\nMessage-ID: <{time.time()}@control.lab.test>\r\n"
        "Date: Mon, 02 Nov 2026 09:00:00 +0000\r\n\r\n" + body
    )
print(json.dumps([code, words.decode(), time.monotonic() - begin]))
"""
GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\r\n"
EICAR = r"X5O!P%@AP[4\PZX54(P^)7CC)7}$" + "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*\r\n"
PLAIN = "Good morning, when will the books arrive?\r\n\r\nKind regards\r\n"
INBOUND = ("mx1.eu.example.net", "mx1.us.example.net")


def send(lab: Lab, address: object, body: str) -> tuple[int, str, float]:
    done = lab.run(["python3", "-c", SEND, str(address)], input=body)
    code, words, seconds = json.loads(done.stdout)
    return code, words, seconds


@pytest.mark.parametrize("family", [0, 1], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("name", INBOUND)
def test_gtube_is_refused_at_smtp_time(deployed: Lab, fleet: Fleet, name: str, family: int) -> None:
    code, words, _ = send(deployed, fleet.host(name).addresses[family], GTUBE)
    assert (code, words) == (550, "5.7.1 Blocked by SpamAssassin")


@pytest.mark.parametrize("family", [0, 1], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("name", INBOUND)
def test_eicar_is_refused_at_smtp_time(deployed: Lab, fleet: Fleet, name: str, family: int) -> None:
    code, words, _ = send(deployed, fleet.host(name).addresses[family], EICAR)
    assert code == 550
    assert words.startswith("5.7.1 Message refused: it contains")
    assert "EICAR" in words


@pytest.mark.parametrize("name", INBOUND)
def test_ordinary_mail_passes_and_lookups_do_not_hold_it(
    deployed: Lab, fleet: Fleet, name: str
) -> None:
    code, words, seconds = send(deployed, fleet.host(name).ipv4, PLAIN)
    assert code == 250, words
    assert seconds < 8  # seconds; lists of the real world do not exist here


@pytest.mark.parametrize("name", INBOUND)
def test_mail_waits_while_clamd_is_away(deployed: Lab, fleet: Fleet, name: str) -> None:
    stop = "systemctl stop clamav-daemon.socket clamav-daemon.service"
    start = "systemctl start clamav-daemon.socket clamav-daemon.service"
    deployed.ssh(name, stop)
    try:
        code, _, _ = send(deployed, fleet.host(name).ipv4, PLAIN)
        assert code // 100 == 4
    finally:
        deployed.ssh(name, start)
    deadline = time.monotonic() + 60  # the milter looks for clamd every few seconds
    while (answer := send(deployed, fleet.host(name).ipv4, PLAIN))[0] != 250:
        assert time.monotonic() < deadline, answer
        time.sleep(2)


def test_only_postfix_may_talk_to_the_milter(deployed: Lab) -> None:
    for name in INBOUND:
        said = deployed.ssh(name, "stat -c '%U:%G %a' /var/spool/postfix/spamass{,/spamass.sock}")
        assert said.stdout.splitlines() == [
            "spamass-milter:postfix 2750",
            "spamass-milter:postfix 770",
        ]


@pytest.fixture
def changed(deployed: Lab, fleet: Fleet, tmp_path: Path) -> Path:
    """A copy of the fleet directory, to be changed."""
    target = tmp_path / "changed"
    shutil.copytree(fleet.directory, target, ignore=shutil.ignore_patterns("__pycache__", ".git"))
    return target


def deploy(lab: Lab, name: str, directory: Path) -> tuple[int, str]:
    command = ["pyinfra", "-y", "--limit", name, "inventories/eu_central.py", "deploy/site.py"]
    done = lab.run(command, check=False, cwd=directory, timeout=300)
    return done.returncode, done.stdout + done.stderr


def test_new_signatures_are_used_and_bad_ones_never_become_live(
    deployed: Lab, fleet: Fleet, changed: Path
) -> None:
    name, address = "mx1.eu.example.net", fleet.host("mx1.eu.example.net").ipv4
    (changed / "clamav" / "own.ndb").write_text(
        f"Test.Own:0:*:{b'unmistakable-test-phrase'.hex()}\n"
    )
    code, said = deploy(deployed, name, changed)
    assert code == 0, said
    code, words, _ = send(deployed, address, "An unmistakable-test-phrase is here\r\n")
    assert (code, "Test.Own" in words) == (550, True), words

    (changed / "clamav" / "own.ndb").write_text("Test.Own:0:*:not hexadecimal\n")
    code, said = deploy(deployed, name, changed)
    assert code != 0
    assert "Malformed" in said
    assert "refused by its own checker" in said
    live = deployed.ssh(name, "cat /var/lib/clamav/mailfleet/own.ndb").stdout
    assert b"unmistakable-test-phrase".hex() in live

    code, said = deploy(deployed, name, fleet.directory)
    assert code == 0, said
    assert deployed.ssh(name, "ls /var/lib/clamav/mailfleet").stdout == "eicar.ndb\n"


def test_a_score_that_spamassassin_does_not_know_never_becomes_live(
    deployed: Lab, changed: Path
) -> None:
    name = "mx1.eu.example.net"
    own = changed / "templates" / "etc" / "spamassassin"
    own.mkdir(parents=True)
    (own / "mailfleet.cf.j2").write_text("requierd_score 5\n")
    code, said = deploy(deployed, name, changed)
    assert code != 0
    assert "requierd_score" in said
    assert "required_score 5" in deployed.ssh(name, "cat /etc/spamassassin/mailfleet.cf").stdout
