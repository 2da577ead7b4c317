"""Postfix and OpenDKIM on real hosts, judged by SMTP sessions from elsewhere and by dkimpy."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mailfleet.fleet.model import Fleet
from mailfleet.lab import post
from mailfleet.lab.lab import Lab
from mailfleet.lab.mail import compose

pytestmark = pytest.mark.lab

SENDERS = ("mta1.eu.example.net", "mta1.us.example.net")
MX, BACKUP = "mx1.eu.example.net", "mx1.us.example.net"

# Every envelope in a session of its own; run on the lab's control machine, which nobody trusts.
_ASK = """
import json, smtplib, sys
answers = []
for address, sender, recipient in json.load(sys.stdin):
    with smtplib.SMTP(address, 25, local_hostname="control.lab.test", timeout=30) as session:
        session.ehlo()
        session.docmd("MAIL", f"FROM:<{sender}>")
        code, reply = session.docmd("RCPT", f"TO:{recipient}")
        answers.append([code, reply.decode()])
json.dump(answers, sys.stdout)
"""

# What dkimpy says of a message, its key looked up in the lab's own DNS.
_VERIFY = """
import dkim, re, sys
message = sys.stdin.buffer.read()
tag = re.search(rb"d=([^;]+);", message)
print(tag[1].decode() if tag else "unsigned", dkim.verify(message))
"""


def control(lab: Lab, script: str, text: str) -> str:
    """What a Python script prints on the lab's control machine."""
    return lab.run([sys.executable, "-c", textwrap.dedent(script)], input=text).stdout


def ask(lab: Lab, envelopes: Sequence[tuple[str, str, str]]) -> list[tuple[int, str]]:
    """The answers to RCPT for (address, sender, recipient as it stands in the command)."""
    return [(code, reply) for code, reply in json.loads(control(lab, _ASK, json.dumps(envelopes)))]


def maildir_message(lab: Lab, message: bytes, recipient: str, seconds: float = 30) -> str:
    """The text of a message in the recipient's Maildir, once it is there."""
    arrival = post.wait(lab, message, recipient, time.time(), seconds)
    assert arrival is not None, f"nothing in the Maildir of {recipient} after {seconds:g} s"
    return lab.ssh(arrival.place, ["cat", arrival.path]).stdout


def signed_by(lab: Lab, text: str) -> str:
    """`DOMAIN True` when the signature of that domain is good."""
    return control(lab, _VERIFY, text.replace("\n", "\r\n")).strip()


# -- who may send what through us

RELAY_ATTEMPTS = (
    ("bob@gmail.com", "<alice@gmail.com>"),
    ("", "<alice@gmail.com>"),
    ("alice@example.com", "<alice@gmail.com>"),
    ("postmaster@localhost", "<alice@gmail.com>"),
    ("bob@gmail.com", "<alice%gmail.com@example.com>"),
    ("bob@gmail.com", "<alice%gmail.com@{host}>"),
    ("bob@gmail.com", "<alice%gmail.com>"),
    ("bob@gmail.com", "<gmail.com!alice>"),
    ("bob@gmail.com", '<"alice@gmail.com">'),
    ("bob@gmail.com", '<"alice@gmail.com"@example.com>'),
    ("bob@gmail.com", "<@example.com:alice@gmail.com>"),
    ("bob@gmail.com", "<alice@[198.18.1.25]>"),
    ("bob@gmail.com", "<alice@sub.example.com>"),
    ("bob@gmail.com", "<alice@example.com.>"),
    ("bob@gmail.com", "<alice@gmail.com@example.com>"),
)
# A trailing dot is not another domain: this one is mail for alice.
FOR_US = {"<alice@example.com.>"}


@pytest.mark.parametrize("name", [MX, BACKUP])
def test_no_open_relay(deployed: Lab, fleet: Fleet, name: str) -> None:
    envelopes = [
        (str(address), sender, recipient.format(host=name))
        for address in fleet.host(name).addresses
        for sender, recipient in RELAY_ATTEMPTS
        if recipient not in FOR_US
    ]
    for envelope, (code, reply) in zip(envelopes, ask(deployed, envelopes), strict=True):
        assert code // 100 == 5, f"{envelope}: {code} {reply}"


@pytest.mark.parametrize("name", [MX, BACKUP])
def test_recipients(deployed: Lab, fleet: Fleet, name: str) -> None:
    address = str(fleet.host(name).ipv4)
    known = ["alice@example.com", "Alice+tag@Example.COM", "carol@example.org"]
    known += [f"{who}@{d.name}" for who in ("postmaster", "abuse") for d in fleet.domains]
    known += [f"postmaster@{name}"]
    unknown = ["nobody@example.com", "alice@example.net", "root@example.com", f"root@{name}"]
    envelopes = [(address, "bob@gmail.com", f"<{to}>") for to in (*known, *unknown)]
    answers = dict(zip((*known, *unknown), ask(deployed, envelopes), strict=True))
    assert {to: answers[to][0] for to in known} == dict.fromkeys(known, 250)
    assert {to: answers[to][0] for to in unknown} == dict.fromkeys(unknown, 550)


@pytest.mark.parametrize("name", [MX, BACKUP])
def test_nobody_gets_reports_of_delivery_sent_to_a_third_party(
    deployed: Lab, fleet: Fleet, name: str
) -> None:
    # The answer to a request for a report of success (RFC 3461), which would go to the victim.
    recipient = "<alice@example.com> NOTIFY=SUCCESS"
    address = str(fleet.host(name).ipv4)
    ((code, reply),) = ask(deployed, [(address, "victim@gmail.com", recipient)])
    assert code // 100 == 5, reply


def test_what_the_backup_takes_has_hops_to_spare_at_the_mx(deployed: Lab, fleet: Fleet) -> None:
    script = """
    import smtplib, sys
    backup, hops = sys.stdin.read().split()
    received = "Received: from a by b\\r\\n" * int(hops)
    with smtplib.SMTP(backup, local_hostname="control.lab.test") as session:
        try:
            session.sendmail("", ["alice@example.com"], received + "Subject: hops\\r\\n\\r\\n.")
        except smtplib.SMTPDataError as error:
            print(error.smtp_code)
    """
    # An mx refuses 50; a message of 45 would arrive there with a few more.
    assert control(deployed, script, f"{fleet.host(BACKUP).ipv4} 45").strip() == "554"


@pytest.mark.parametrize("name", SENDERS)
def test_a_sender_does_not_listen_to_the_world(deployed: Lab, fleet: Fleet, name: str) -> None:
    lines = deployed.ssh(name, "ss -Hltn 'sport = :25'").stdout.splitlines()
    assert sorted(line.split()[3] for line in lines) == ["127.0.0.1:25", "[::1]:25"]
    try_all = (
        "import socket, sys\n"
        "for address in sys.stdin.read().split():\n"
        "    try:\n"
        "        socket.create_connection((address, 25), timeout=2).close()\n"
        "        print('open', address)\n"
        "    except OSError as error:\n"
        "        print('closed', address)\n"
    )
    addresses = [str(address) for address in fleet.host(name).addresses]
    said = control(deployed, try_all, " ".join(addresses))
    assert said.splitlines() == [f"closed {address}" for address in addresses]


# -- what leaves a sender


@pytest.mark.parametrize("name", SENDERS)
def test_mail_is_signed(deployed: Lab, name: str) -> None:
    domain = "example.com" if name == SENDERS[0] else "example.org"
    message = compose(f"app@{domain}", "alice@example.com", "Signed?", "By whom?\n")
    post.via(deployed, name, f"app@{domain}", "alice@example.com", message)
    assert signed_by(deployed, maildir_message(deployed, message, "alice@example.com")) == (
        f"{domain} True"
    )


@pytest.mark.parametrize("name", SENDERS)
def test_without_its_signer_mail_waits(deployed: Lab, name: str) -> None:
    domain = "example.com" if name == SENDERS[0] else "example.org"
    message = compose(f"app@{domain}", "bob@example.com", "Later", "But signed.\n")
    deployed.ssh(name, ["systemctl", "stop", "opendkim"])
    try:
        post.via(deployed, name, f"app@{domain}", "bob@example.com", message)
        time.sleep(3)
        assert post.wait(deployed, message, "bob@example.com", time.time(), 0) is None
    finally:
        deployed.ssh(name, ["systemctl", "start", "opendkim"])
    # pickup(8) looks again every minute, or when there is more mail.
    nudge = compose(f"app@{domain}", "bob@example.com", "More", "More.\n")
    post.via(deployed, name, f"app@{domain}", "bob@example.com", nudge)
    arrived = maildir_message(deployed, message, "bob@example.com", 90)
    assert signed_by(deployed, arrived) == f"{domain} True"


@pytest.mark.parametrize("name", [*SENDERS, MX, BACKUP])
def test_mail_of_the_host_reaches_the_contact(deployed: Lab, fleet: Fleet, name: str) -> None:
    message = compose(f"root@{name}", fleet.general.contact, "cron", "Something to look at.\n")
    text = message.decode().replace("\r\n", "\n")
    deployed.ssh(name, ["/usr/sbin/sendmail", "-i", "daemon"], input=text)
    arrived = maildir_message(deployed, message, fleet.general.contact)
    assert f"Return-Path: <{fleet.general.contact}>" in arrived
    if name in SENDERS:
        assert signed_by(deployed, arrived) == "example.net True"


@pytest.mark.parametrize("name", SENDERS)
def test_private_key(deployed: Lab, name: str) -> None:
    listed = deployed.ssh(name, "stat -c '%a %U %G' /etc/dkimkeys /etc/dkimkeys/*.private").stdout
    assert listed.splitlines() == ["700 opendkim opendkim", "600 opendkim opendkim"]
    there = deployed.ssh(
        name, "openssl pkey -in /etc/dkimkeys/*.private -pubout -outform DER | base64 -w0"
    ).stdout
    directory = deployed.record().fleet_directory
    record = json.loads((directory / "state/dkim" / f"{name}.json").read_text())
    assert [key["public_key"] for key in record["keys"]] == [there.strip()]


# -- holding mail


def test_backup_holds_mail_while_the_mx_is_away(deployed: Lab, fleet: Fleet) -> None:
    message = compose("bob@gmail.com", "carol@example.org", "Held", "Patience.\n")
    deployed.ssh(MX, ["systemctl", "stop", "postfix"])
    try:
        code = control(
            deployed,
            """
            import json, smtplib, sys
            address, message = json.load(sys.stdin)
            with smtplib.SMTP(address, local_hostname="control.lab.test") as session:
                session.sendmail("bob@gmail.com", "carol@example.org", message)
                print("taken")
            """,
            json.dumps([str(fleet.host(BACKUP).ipv4), message.decode()]),
        )
        assert code.strip() == "taken"
        time.sleep(2)
        assert "carol@example.org" in deployed.ssh(BACKUP, "postqueue -p").stdout
    finally:
        deployed.ssh(MX, ["systemctl", "start", "postfix"])
    deployed.ssh(BACKUP, ["postqueue", "-f"])
    assert "Patience." in maildir_message(deployed, message, "carol@example.org", 120)


# -- deploying again


def pyinfra(lab: Lab, directory: Path, name: str) -> dict[str, Any]:
    """A deploy of one host by plain pyinfra, as its `--json`; `exit` and `stderr` are added."""
    region = "eu_central" if ".eu." in name else "us_east"
    done = lab.run(
        ["pyinfra", "-y", "--json", "--limit", name, f"inventories/{region}.py", "deploy/site.py"],
        check=False,
        cwd=directory,
        env={"MAILFLEET_FLEET": str(directory)},
        timeout=300,
    )
    return {**json.loads(done.stdout or "{}"), "exit": done.returncode, "stderr": done.stderr}


def delays(lab: Lab, name: str) -> str:
    """The lines of main.cf that the warm-up owns."""
    return lab.ssh(name, "grep -E '_transport_rate_delay|^defer_' /etc/postfix/main.cf").stdout


@pytest.mark.parametrize("name", SENDERS)
def test_another_deploy_leaves_postfix_alone(deployed: Lab, name: str) -> None:
    before = delays(deployed, name)
    started = deployed.ssh(name, "stat -c %Z /var/spool/postfix/pid/master.pid").stdout
    result = pyinfra(deployed, deployed.record().fleet_directory, name)
    assert result["exit"] == 0, result["stderr"]
    ours = [
        operation
        for operation in result["results"]["operations"]
        if operation["name"].startswith(("postfix", "opendkim"))
    ]
    assert len(ours) >= 6
    assert [operation["name"] for operation in ours if operation["success"]] == []
    assert delays(deployed, name) == before
    assert deployed.ssh(name, "stat -c %Z /var/spool/postfix/pid/master.pid").stdout == started


@pytest.mark.parametrize(
    ("template", "broken", "said"),
    [
        ("etc/postfix/main.cf.j2", "smtpd_banner_typo = x\n", "unused parameter"),
        ("etc/opendkim/key.table.j2", "example.com nothing\n", "key.table"),
    ],
)
def test_what_its_checker_refuses_never_becomes_live(
    deployed: Lab, tmp_path: Path, template: str, broken: str, said: str
) -> None:
    name = SENDERS[1]
    directory = tmp_path / "fleet"
    shutil.copytree(deployed.record().fleet_directory, directory)
    own = directory / "templates" / template
    own.parent.mkdir(parents=True)
    shipped = Path(__file__).parents[2] / "templates" / template
    own.write_text(shipped.read_text() + broken)
    target = "/" + template.removesuffix(".j2")
    before = deployed.ssh(name, ["sha256sum", target]).stdout
    result = pyinfra(deployed, directory, name)
    assert result["exit"] != 0
    assert said in result["stderr"]
    assert deployed.ssh(name, ["sha256sum", target]).stdout == before
    assert (
        deployed.ssh(name, "ls -A /etc/postfix /etc/opendkim | grep mailfleet-new || :").stdout
        == ""
    )
