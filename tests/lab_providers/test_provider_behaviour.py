"""What the simulators do on command, seen from the other end of the SMTP session."""

from __future__ import annotations

import json
import smtplib
import time
from collections.abc import Callable
from email import message_from_bytes
from ipaddress import ip_network

import pytest
from lab_dns_server import SERVFAIL, DnsServer
from lab_simulator import DOMAIN, HOST, Key, Simulator, compose, until
from pydantic import ValidationError

from mailfleet.lab.providers import behaviour, complaint, replies, store
from mailfleet.lab.providers.behaviour import BadBehaviour, Behaviour, Rule

LOCAL = (ip_network("127.0.0.1/32"),)


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("google", 421, "unusual rate of unsolicited mail"),
        ("microsoft", 451, "temporarily rate limited due to IP reputation"),
    ],
)
def test_defer_in_the_providers_words(
    simulate: Callable[..., Simulator], name: str, code: int, words: str
) -> None:
    simulator = simulate(name)
    simulator.tell(Rule(action="defer"))
    to = "bob@gmail.com" if name == "google" else "bob@outlook.com"
    found, reply = simulator.send(compose(to=to), recipients=(to,))
    assert (found, words in reply) == (code, True)
    assert "127.0.0.1" in reply
    assert simulator.messages == []
    [attempt] = simulator.attempts
    assert (attempt.code, attempt.address) == (code, "127.0.0.1")
    assert attempt.reply.startswith(f"{code}")


def test_google_repeats_code_and_status_on_every_line(google: Simulator) -> None:
    google.tell(Rule(action="defer"))
    google.send(compose())
    lines = google.attempts[0].reply.split("\n")
    assert all(line.startswith("421-4.7.28 ") for line in lines[:-1])
    assert lines[-1].startswith("421 4.7.28 ")


def test_after_421_the_connection_is_closed(google: Simulator) -> None:
    google.tell(Rule(action="defer", words="yahoo-rate"))
    code, reply = google.send(compose())
    assert code == 421
    assert "[TSS04]" in reply


def test_reject_and_accept_again(google: Simulator) -> None:
    google.tell(Rule(action="reject"))
    code, reply = google.send(compose())
    assert (code, "likely unsolicited" in reply) == (550, True)
    google.tell()
    assert google.send(compose())[0] == 250
    assert len(google.messages) == 1


def test_no_such_user_only_for_that_recipient(google: Simulator) -> None:
    google.tell(Rule(action="reject", recipients=("nobody@gmail.com",)))
    code, reply = google.send(compose(), recipients=("Nobody@gmail.com",))
    assert (code, "5.1.1" in reply) == (550, True)
    assert google.send(compose(), recipients=("nobody@gmail.com", "bob@gmail.com"))[0] == 250
    [message] = google.messages
    assert message.envelope.recipients == ("bob@gmail.com",)
    assert [a.stage for a in google.attempts] == ["rcpt", "rcpt"]


def test_recipient_patterns(google: Simulator) -> None:
    google.tell(Rule(action="defer", recipients=("bounce-*@gmail.com",), words="google-quota"))
    assert google.send(compose(), recipients=("bounce-17@gmail.com",))[0] == 452
    assert google.send(compose())[0] == 250


def test_only_for_one_sending_address(google: Simulator) -> None:
    google.tell(Rule(action="defer", addresses=(ip_network("127.0.0.2/32"),)))
    assert google.send(compose())[0] == 250
    assert google.send(compose(), source="127.0.0.2")[0] == 421


def test_narrow_rules_go_before_wide_ones(google: Simulator) -> None:
    wide = Behaviour().with_rule(Rule(action="accept", addresses=LOCAL))
    behaviour.save(google.directory, wide.with_rule(Rule(action="defer")))
    assert google.send(compose())[0] == 250
    assert google.send(compose(), source="127.0.0.2")[0] == 421


def test_count_ends_a_rule(google: Simulator) -> None:
    google.tell(Rule(action="defer", count=2))
    assert [google.send(compose())[0] for _ in range(4)] == [421, 421, 250, 250]


def test_every_so_manieth(google: Simulator) -> None:
    google.tell(Rule(action="reject", every=3))
    assert [google.send(compose())[0] for _ in range(6)] == [250, 250, 550, 250, 250, 550]


def test_count_with_every(google: Simulator) -> None:
    google.tell(Rule(action="reject", every=2, count=1))
    assert [google.send(compose())[0] for _ in range(4)] == [250, 550, 250, 250]


@pytest.mark.parametrize("name", ["google", "microsoft"])
def test_throttle_by_sending_address(simulate: Callable[..., Simulator], name: str) -> None:
    simulator = simulate(name)
    to = ("bob@gmail.com",) if name == "google" else ("bob@outlook.com",)
    simulator.tell(Rule(action="throttle", limit=2, period=1.5))
    start = time.monotonic()
    codes = [simulator.send(compose(), recipients=to)[0] // 100 for _ in range(4)]
    assert codes == [2, 2, 4, 4]
    assert simulator.send(compose(), recipients=to, source="127.0.0.2")[0] == 250
    time.sleep(max(0.0, start + 2.0 - time.monotonic()))
    assert simulator.send(compose(), recipients=to)[0] == 250
    assert len(simulator.messages) == 4


def test_slow(google: Simulator) -> None:
    google.tell(Rule(action="slow", delay=0.6))
    start = time.monotonic()
    assert google.send(compose())[0] == 250
    assert time.monotonic() - start >= 0.6
    [message] = google.messages
    assert message.times.stored - message.times.data >= 0.6


def test_own_reply_at_a_chosen_stage(google: Simulator) -> None:
    google.tell(Rule(action="defer", reply="450 4.2.1 Try {later} please", stage="rcpt"))
    assert google.send(compose()) == (450, "4.2.1 Try {later} please")
    assert google.attempts[0].stage == "rcpt"


def test_changes_while_a_session_is_open(google: Simulator) -> None:
    with smtplib.SMTP("127.0.0.1", google.port, local_hostname=HOST) as smtp:
        message = compose().decode()
        smtp.sendmail(f"news@{DOMAIN}", ["bob@gmail.com"], message)
        google.tell(Rule(action="reject"))
        with pytest.raises(smtplib.SMTPDataError):
            smtp.sendmail(f"news@{DOMAIN}", ["bob@gmail.com"], message)
        google.tell()
        smtp.sendmail(f"news@{DOMAIN}", ["bob@gmail.com"], message)
    assert [m.id for m in google.messages] == ["000001", "000002"]


def test_relaying_is_refused(google: Simulator) -> None:
    code, _ = google.send(compose(), recipients=("bob@elsewhere.example",))
    assert code == 550
    assert google.attempts[0].rule == "relay"


def test_customers_with_a_domain_of_their_own(google: Simulator, zone: DnsServer) -> None:
    zone.add("workspace.example", "MX", "1 gmail-smtp-in.l.google.com.")
    assert google.send(compose(), recipients=("bob@workspace.example",))[0] == 250
    zone.failing["workspace.example"] = SERVFAIL
    assert google.send(compose(), recipients=("bob@workspace.example",))[0] == 451


# -- authentication


def test_required_authentication_takes_what_is_authenticated(google: Simulator, key: Key) -> None:
    google.tell(authentication="required")
    assert google.send(key.sign(compose()))[0] == 250
    assert google.send(compose())[0] == 250  # by SPF


def _no_ptr(zone: DnsServer) -> None:
    zone.remove("1.0.0.127.in-addr.arpa", "PTR")


def _nothing_passes(zone: DnsServer) -> None:
    zone.text(DOMAIN, "v=spf1 -all")
    zone.text(f"_dmarc.{DOMAIN}", "v=DMARC1; p=none")


def _dns_fails(zone: DnsServer) -> None:
    zone.failing[DOMAIN] = SERVFAIL


@pytest.mark.parametrize(
    ("name", "spoil", "author", "status"),
    [
        ("google", _no_ptr, f"news@{DOMAIN}", "550 5.7.25"),
        ("google", _nothing_passes, f"news@{DOMAIN}", "550 5.7.26"),
        ("google", lambda zone: None, "news@victim.example", "550 5.7.26"),
        ("google", _dns_fails, f"news@{DOMAIN}", "451 4.3.0"),
        ("google", lambda zone: None, "nobody", "550 5.7.1"),
        ("microsoft", _no_ptr, f"news@{DOMAIN}", "550 5.7.25"),
        ("microsoft", _nothing_passes, f"news@{DOMAIN}", "550 5.7.515"),
        ("microsoft", lambda zone: None, "news@victim.example", "550 5.7.509"),
    ],
)
def test_required_authentication_refuses(
    simulate: Callable[..., Simulator],
    zone: DnsServer,
    name: str,
    spoil: Callable[[DnsServer], None],
    author: str,
    status: str,
) -> None:
    zone.text("_dmarc.victim.example", "v=DMARC1; p=reject")
    simulator = simulate(name)
    simulator.tell(authentication="required")
    spoil(zone)
    to = ("bob@gmail.com",) if name == "google" else ("bob@outlook.com",)
    code, reply = simulator.send(compose(author=author), recipients=to)
    assert f"{code} {reply.split(' ')[0]}" == status
    [attempt] = simulator.attempts
    assert attempt.verdicts is not None
    assert attempt.message_id
    assert simulator.messages == []
    simulator.tell()
    assert simulator.send(compose(author=author), recipients=to)[0] == 250


# -- complaints


def test_a_complaint_reaches_the_domain_that_signed(
    simulate: Callable[..., Simulator], key: Key, zone: DnsServer
) -> None:
    # The second provider stands for the domain's own MX, found by MX lookup.
    receiver = simulate("microsoft")
    zone.add(DOMAIN, "MX", "10 outlook-com.olc.protection.outlook.com.")
    zone.add("outlook-com.olc.protection.outlook.com", "A", "127.0.0.1")
    zone.remove("outlook-com.olc.protection.outlook.com", "AAAA")
    google = simulate("google", delivery_port=receiver.port)
    google.tell(Rule(action="complain", count=1))
    content = key.sign(compose(subject="Bücher für alle"))
    assert google.send(content)[0] == 250
    assert google.send(compose())[0] == 250  # the rule is spent
    [told] = until(lambda: store.complaints(google.directory))
    assert (told.id, told.to, told.delivered, told.tries) == (
        "000001",
        f"abuse@{DOMAIN}",
        True,
        1,
    )
    [report] = receiver.messages
    assert report.envelope.sender == "feedback@gmail.com"
    assert report.envelope.recipients == (f"abuse@{DOMAIN}",)
    _, raw = store.message(receiver.directory, report.id)
    mail = message_from_bytes(raw)
    assert mail.get_content_type() == "multipart/report"
    assert mail.get_param("report-type") == "feedback-report"
    text, feedback, original = mail.get_payload()
    assert [part.get_content_type() for part in (text, feedback, original)] == [
        "text/plain",
        "message/feedback-report",
        "message/rfc822",
    ]
    fields = message_from_bytes(raw[raw.index(b"Feedback-Type") :])
    assert fields["Feedback-Type"] == "abuse"
    assert fields["Source-IP"] == "127.0.0.1"
    assert fields["Original-Mail-From"] == f"<news@{DOMAIN}>"
    assert fields["Original-Rcpt-To"] == "<bob@gmail.com>"
    assert fields["Reported-Domain"] == DOMAIN
    assert fields["Version"] == "1"
    assert original.get_payload(0)["Message-ID"] == google.messages[0].message_id


def test_nobody_to_complain_to_without_a_signature(google: Simulator) -> None:
    google.tell(Rule(action="complain"))
    assert google.send(compose())[0] == 250
    time.sleep(0.2)
    assert store.complaints(google.directory) == []


def test_a_complaint_is_retried_and_given_up(
    simulate: Callable[..., Simulator],
    key: Key,
    zone: DnsServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(complaint, "TRIES", (0, 0.1, 0.1))
    receiver = simulate("microsoft")
    receiver.tell(Rule(action="defer"))
    google = simulate("google", delivery_port=receiver.port)
    google.tell(Rule(action="complain", feedback="fbl@outlook.com"))
    zone.add("outlook-com.olc.protection.outlook.com", "A", "127.0.0.1")
    zone.remove("outlook-com.olc.protection.outlook.com", "AAAA")
    google.send(key.sign(compose()))
    [told] = until(lambda: store.complaints(google.directory))
    assert (told.delivered, told.tries, "451" in told.reply) == (False, 3, True)
    assert len(receiver.attempts) == 3


# -- the command channel


def test_a_broken_file_changes_nothing(google: Simulator) -> None:
    google.tell(Rule(action="reject"))
    assert google.send(compose())[0] == 550
    (google.directory / behaviour.FILE).write_text('{"rules": [{"action": "explode"}]}')
    assert google.send(compose())[0] == 550
    with pytest.raises(BadBehaviour, match=r"behaviour\.json cannot be used"):
        behaviour.load(google.directory)


@pytest.mark.parametrize(
    "rule",
    [
        {"action": "defer", "words": "google-block"},
        {"action": "reject", "reply": "450 later"},
        {"action": "reject", "reply": "550 4.1.1 mixed"},
        {"action": "defer", "reply": "later"},
        {"action": "defer", "reply": "450 two\nlines"},
        {"action": "defer", "words": "nobody-says-this"},
        {"action": "throttle"},
        {"action": "slow", "delay": 1e6},
        {"action": "defer", "count": 0},
        {"action": "defer", "colour": "red"},
        {"action": "defer", "addresses": ["example.com"]},
    ],
)
def test_rules_that_make_no_sense(rule: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Rule.model_validate(rule)


def test_the_file_survives_a_round_trip(google: Simulator) -> None:
    told = Behaviour(authentication="required").with_rule(
        Rule(action="throttle", limit=3, addresses=LOCAL, recipients=("a*@gmail.com",))
    )
    behaviour.save(google.directory, told)
    assert behaviour.load(google.directory) == told
    json.loads((google.directory / behaviour.FILE).read_text())


def test_a_rule_replaces_one_of_the_same_scope() -> None:
    told = Behaviour()
    for action in ("defer", "reject", "complain"):
        told = told.with_rule(Rule.model_validate({"action": action, "addresses": LOCAL}))
    assert [rule.action for rule in told.rules] == ["complain"]
    told = told.with_rule(Rule(action="defer"))
    assert [rule.action for rule in told.rules] == ["complain", "defer"]
    assert told.with_rule(Rule(action="accept")).rules == ()


@pytest.mark.parametrize("name", sorted(replies.REPLIES))
def test_every_reply_is_a_legal_smtp_reply(name: str) -> None:
    subject = replies.Subject(
        address="127.0.0.1", host="mx", id="1", domain="evil\r\n250 ok", recipient="ü@x"
    )
    reply = replies.REPLIES[name]
    lines = reply.render(subject).split("\r\n")
    assert all(line.startswith(f"{reply.code}-{reply.enhanced} ") for line in lines[:-1])
    assert lines[-1].startswith(f"{reply.code} {reply.enhanced} ")
    assert all(line.isascii() and len(line) <= 510 for line in lines)
    assert reply.enhanced[0] == str(reply.code)[0]
    for provider in ("google", "microsoft"):
        for purpose in ("rate", "block", "no-user", "unauthenticated", "dmarc", "ptr", "from"):
            assert f"{provider}-{purpose}" in replies.REPLIES
