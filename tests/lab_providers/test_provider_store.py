"""What the simulators keep: whole messages, in order, through load, restarts and SIGKILL."""

from __future__ import annotations

import json
import os
import signal
import smtplib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import dkim
import pytest
from lab_dns_server import DnsServer
from lab_simulator import DOMAIN, HOST, SELECTOR, Key, Simulator, compose, until

from mailfleet.lab.providers import store
from mailfleet.lab.providers.records import Attempt, Message
from mailfleet.lab.providers.store import Store
from mailfleet.lab.providers.trace import without_forged_results


@contextmanager
def _process(
    directory: Path, dns: str, *listen: str
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The simulator as the lab runs it, and its port."""
    command = [sys.executable, "-m", "mailfleet.lab.providers", "google"]
    command += ["--directory", str(directory), "--dns", dns]
    for endpoint in listen or ("127.0.0.1@0",):
        command += ["--listen", endpoint]
    ready = directory / "running.json"
    ready.unlink(missing_ok=True)
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        until(lambda: ready.exists() or process.poll() is not None, 20)
        assert process.poll() is None, process.communicate()[1]
        yield process, json.loads(ready.read_text())["listen"][0][1]
    finally:
        process.kill()
        process.communicate()


def _send(port: int, message: bytes, to: str = "bob@gmail.com") -> None:
    with smtplib.SMTP("127.0.0.1", port, local_hostname=HOST, timeout=30) as smtp:
        smtp.sendmail(f"news@{DOMAIN}", [to], message)


def test_the_eml_is_what_arrived_under_trace_fields(
    google: Simulator, key: Key, zone: DnsServer
) -> None:
    content = key.sign(compose())
    google.send(content)
    record, raw = store.message(google.directory, "000001")
    assert store.message(google.directory, "1")[0] == record
    assert raw.endswith(content)
    assert record.sha256 == sha256(content).hexdigest()
    trace = raw[: -len(content)].decode()
    assert trace.startswith(f"Return-Path: <news@{DOMAIN}>\r\nAuthentication-Results: ")
    flat = trace.replace("\r\n\t", " ")
    for part in (
        "gmail-smtp-in.l.google.com;",
        f"spf=pass smtp.mailfrom={DOMAIN};",
        f"dkim=pass header.d={DOMAIN} header.s={SELECTOR} header.a=rsa-sha256;",
        f"dmarc=pass (p=reject dis=none) header.from={DOMAIN}",
        f"iprev=pass policy.iprev=127.0.0.1 ({HOST})",
        f"Received: from {HOST} ({HOST} [127.0.0.1])",
        "with ESMTPS id 000001 (version=TLSv1.3",
        "for <bob@gmail.com>;",
    ):
        assert part in flat
    # The stored file verifies by itself, with dkimpy's own entry point.
    assert dkim.verify(raw, dnsfunc=lambda name, timeout=5: key.record.encode())


def test_record_fields(google: Simulator) -> None:
    start = time.time()
    google.send(compose(subject="=?utf-8?q?Gr=C3=BC=C3=9Fe?=", extra="X-Long: a\r\n b\r\n"))
    [message] = google.messages
    times = message.times
    assert start <= times.connected <= times.mail <= times.data <= times.stored <= time.time()
    assert message.subject == "Grüße"
    assert message.header_from == f"News <news@{DOMAIN}>"
    assert ("X-Long", "a b") in message.headers
    assert message.message_id.endswith(f"@{DOMAIN}>")
    raw = json.loads((google.directory / "messages/000001.json").read_text())
    assert raw["verdicts"]["spf"]["result"] == "pass"


def test_forged_results_of_ours_are_removed_others_stay() -> None:
    message = (
        b"Authentication-Results: mx.google;\r\n\tdmarc=pass\r\nFrom: a@b\r\n"
        b"authentication-results:mx.google; spf=pass\r\n"
        b"Authentication-Results: other.example; spf=fail\r\n\r\n"
        b"Authentication-Results: mx.google; in the body\r\n"
    )
    assert without_forged_results(message, "mx.google") == (
        b"From: a@b\r\nAuthentication-Results: other.example; spf=fail\r\n\r\n"
        b"Authentication-Results: mx.google; in the body\r\n"
    )
    for untouched in (b"", b"no header", b"From: a@b\r\n\r\nx", b"\r\n\r\n"):
        assert without_forged_results(untouched, "mx.google") == untouched


def test_eight_bit_and_utf8(google: Simulator) -> None:
    content = compose(author="Jörg <jörg@example.com>", subject="Grüße", body="naïve\r\n")
    options = ("SMTPUTF8", "BODY=8BITMIME")
    code, _ = google.send(
        content, sender="jörg@example.com", recipients=("müller@gmail.com",), options=options
    )
    assert code == 250
    [message] = google.messages
    assert message.envelope.sender == "jörg@example.com"
    assert message.envelope.recipients == ("müller@gmail.com",)
    assert set(message.envelope.options) == set(options)
    assert message.subject == "Grüße"
    assert store.message(google.directory, "1")[1].endswith(content)


def test_bytes_that_are_no_text(google: Simulator) -> None:
    content = compose(body="").replace(b"Hello", b"\xff\xfe") + bytes(range(14, 256)) + b"\r\n"
    assert google.send(content)[0] == 250
    assert store.message(google.directory, "1")[1].endswith(content)


def test_commands_that_are_no_text(google: Simulator) -> None:
    with smtplib.SMTP("127.0.0.1", google.port) as smtp:
        for line, code in (
            (b"EHLO \xff\r\n", 250),
            (b"MAIL FROM:<\xff@example.com> SMTPUTF8\r\n", 250),
            (b"RCPT TO:<bob@\xfe.example>\r\n", 550),
            (b"RCPT TO:<b\xffb@gmail.com>\r\n", 250),
            (b"DATA\r\n", 354),
            (b"Subject: x\r\n\r\nx\r\n.\r\n", 250),
        ):
            smtp.send(line)
            assert smtp.getreply()[0] == code
    [message] = google.messages
    assert message.envelope.recipients == ("b\ufffdb@gmail.com",)
    assert google.attempts[0].recipients == ("bob@\ufffd.example",)


def test_dots_and_an_empty_body(google: Simulator) -> None:
    content = compose(body=".\r\n..\r\n.x\r\n")
    google.send(content)
    google.send(compose(body=""))
    assert store.message(google.directory, "1")[1].endswith(content)
    assert store.message(google.directory, "2")[1].endswith(b"\r\n\r\n")


def test_a_huge_message(google: Simulator, key: Key) -> None:
    content = key.sign(compose(body=("x" * 900 + "\r\n") * 12_000))
    assert google.send(content)[0] == 250
    [message] = google.messages
    assert (message.size, message.verdicts.dkim[0].result) == (len(content), "pass")
    assert (google.directory / "messages/000001.eml").stat().st_size > len(content)


def test_a_message_over_the_announced_size(microsoft: Simulator) -> None:
    code, _ = microsoft.send(compose(), recipients=("bob@outlook.com",), options=("SIZE=50000000",))
    assert code == 552


def test_many_at_once(google: Simulator, key: Key) -> None:
    signed = [key.sign(compose(subject=f"number {n}")) for n in range(120)]
    with ThreadPoolExecutor(20) as pool:
        codes = [code for code, _ in pool.map(google.send, signed)]
    assert codes == [250] * 120
    found = google.messages
    assert [m.id for m in found] == [f"{n:06d}" for n in range(1, 121)]
    assert {m.subject for m in found} == {f"number {n}" for n in range(120)}
    assert {m.verdicts.dkim[0].result for m in found} == {"pass"}
    assert {m.sha256 for m in found} == {sha256(s).hexdigest() for s in signed}


def test_several_messages_in_one_session_and_rset(google: Simulator) -> None:
    with smtplib.SMTP("127.0.0.1", google.port, local_hostname=HOST) as smtp:
        smtp.ehlo()
        assert "auth" not in smtp.esmtp_features
        assert {"size", "8bitmime", "smtputf8", "starttls", "pipelining"} <= set(
            smtp.esmtp_features
        )
        for _ in range(3):
            smtp.mail(f"lost@{DOMAIN}")
            smtp.rset()
            smtp.sendmail(f"news@{DOMAIN}", ["bob@gmail.com", "eve@googlemail.com"], compose())
    assert [m.envelope.recipients for m in google.messages] == [
        ("bob@gmail.com", "eve@googlemail.com")
    ] * 3
    assert {m.envelope.sender for m in google.messages} == {f"news@{DOMAIN}"}


def test_a_peer_that_hangs_up_leaves_nothing(google: Simulator) -> None:
    smtp = smtplib.SMTP("127.0.0.1", google.port, local_hostname=HOST)
    smtp.ehlo()
    smtp.mail(f"news@{DOMAIN}")
    smtp.rcpt("bob@gmail.com")
    smtp.docmd("DATA")
    smtp.send(compose()[:50])
    smtp.close()
    assert google.send(compose())[0] == 250
    assert len(google.messages) == 1


def test_restart_keeps_the_numbering(tmp_path: Path, zone: DnsServer) -> None:
    for expected in (["000001"], ["000001", "000002"]):
        with _process(tmp_path, zone.endpoint) as (process, port):
            _send(port, compose())
            assert [m.id for m in store.messages(tmp_path)] == expected
            process.terminate()
            assert process.wait(10) == 0
            assert not (tmp_path / "running.json").exists()


def test_sigkill_leaves_no_half_message(tmp_path: Path, zone: DnsServer) -> None:
    """Killed three times under load: all that was acknowledged is there, whole; nothing is doubled
    or torn, and leftovers are gone after the next start."""
    acknowledged: list[str] = []
    for round_ in range(3):
        with _process(tmp_path, zone.endpoint) as (process, port), ThreadPoolExecutor(6) as pool:

            def deliver(number: int, port: int = port, round_: int = round_) -> None:
                subject = f"{round_}/{number}"
                try:
                    _send(port, compose(subject=subject, body="y" * 70 + "\r\n"))
                except (OSError, smtplib.SMTPException):
                    return
                acknowledged.append(subject)

            futures = [pool.submit(deliver, number) for number in range(60)]
            target = len(acknowledged) + 8 + round_
            until(lambda target=target: len(acknowledged) >= target, 30)
            os.kill(process.pid, signal.SIGKILL)
            for future in futures:
                future.result()
    with _process(tmp_path, zone.endpoint):
        found = store.messages(tmp_path)
        names = sorted(path.name for path in (tmp_path / "messages").iterdir())
    subjects = [m.subject for m in found]
    assert len(set(subjects)) == len(subjects)
    assert set(acknowledged) <= set(subjects)
    assert names == sorted(f"{m.id}.{suffix}" for m in found for suffix in ("eml", "json"))
    for record in found:
        content = store.message(tmp_path, record.id)[1]
        assert sha256(content[-record.size :]).hexdigest() == record.sha256


def test_tidying_after_a_kill_between_the_two_files(tmp_path: Path) -> None:
    messages = tmp_path / "messages"
    messages.mkdir()
    for name in (".000003.eml", ".000003.json", "000003.eml"):
        (messages / name).write_bytes(b"torn")
    Store(tmp_path)
    assert list(messages.iterdir()) == []


def test_numbers_grow_past_six_digits(google: Simulator) -> None:
    google.send(compose())
    messages = google.directory / "messages"
    record = google.messages[0].model_copy(update={"id": "999999"})
    (messages / "999999.json").write_text(record.model_dump_json())
    again = Store(google.directory)
    assert again.reserve() == "1000000"


def test_a_torn_line_of_attempts_does_not_hide_the_next(
    simulate: Callable[..., Simulator],
) -> None:
    google = simulate("google")
    google.send(compose(), recipients=("x@elsewhere.example",))
    path = google.directory / "attempts.jsonl"
    path.write_bytes(path.read_bytes() + b'{"provider": "goo')
    google.send(compose(), recipients=("y@elsewhere.example",))
    assert [a.recipients for a in google.attempts] == [
        ("x@elsewhere.example",),
        ("y@elsewhere.example",),
    ]


def test_records_read_back_the_same(google: Simulator, key: Key) -> None:
    google.send(key.sign(compose()))
    [message] = google.messages
    assert Message.model_validate_json(message.model_dump_json()) == message
    assert store.find(google.directory, message.message_id) == message
    assert store.find(google.directory, "<other@example.com>") is None
    with pytest.raises(KeyError):
        store.message(google.directory, "2")
    with pytest.raises(KeyError):
        store.message(google.directory, "../../etc/passwd")


def test_reading_a_provider_that_never_ran(tmp_path: Path) -> None:
    nowhere = tmp_path / "nothing"
    assert store.messages(nowhere) == []
    assert store.attempts(nowhere) == []
    assert store.complaints(nowhere) == []
    assert Attempt.model_fields  # the models are importable without a directory


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["yahoo", "--directory", "x"], "is not one of"),
        (["google"], "--directory"),
        (["google", "--directory", "x", "--listen", "nonsense"], "ADDRESS@PORT"),
        (["google", "--directory", "x", "--dns", "127.0.0.1@99999"], "up to 65535"),
        (["google", "--directory", "x", "--listen", "192.0.2.77@2525"], "cannot run"),
    ],
)
def test_bad_arguments_say_what_to_do(tmp_path: Path, arguments: list[str], words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mailfleet.lab.providers", *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
        timeout=60,
    )
    assert done.returncode != 0
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_ipv6_peers(tmp_path: Path, zone: DnsServer) -> None:
    zone.add(
        "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa",
        "PTR",
        f"{HOST}.",
    )
    zone.add(HOST, "AAAA", "::1")
    zone.text(DOMAIN, "v=spf1 ip6:::1 -all")
    with _process(tmp_path, zone.endpoint, "::1@0") as (_, port):
        with smtplib.SMTP("::1", port, local_hostname=HOST) as smtp:
            smtp.sendmail(f"news@{DOMAIN}", ["bob@gmail.com"], compose())
        [message] = store.messages(tmp_path)
    assert message.verdicts.peer.address == "::1"
    assert (message.verdicts.spf.result, message.verdicts.peer.reverse) == ("pass", "pass")
    assert b"[IPv6:::1]" in (tmp_path / "messages/000001.eml").read_bytes()
