"""Whatever arrives, the simulators judge it and write it down; nothing a peer sends breaks them."""

from __future__ import annotations

from types import SimpleNamespace

from hypothesis import given, settings
from hypothesis import strategies as st

from mailfleet.lab.providers.catalogue import GOOGLE, PROVIDERS
from mailfleet.lab.providers.evaluate import authentication_results, evaluate, headers_of
from mailfleet.lab.providers.resolver import DnsFailure, MailExchanger
from mailfleet.lab.providers.trace import trace_fields, without_forged_results
from mailfleet.lab.providers.transaction import Transaction

PIECES = st.sampled_from(
    [
        *(b"From: ", b"from:", b"DKIM-Signature: ", b"Subject: =?utf-8?q?", b"?=", b"\r\n", b"\n"),
        *(b"v=1; a=rsa-sha256; d=example.com; s=x; h=from; bh=AAAA; b=AAAA", b"; ", b"=", b"\r"),
        *(b"Authentication-Results: gmail-smtp-in.l.google.com; ", b"\t", b" ", b":", b"\x00"),
        *(b"a@example.com", b"<", b">", b"@", b"\xff", "ü".encode(), b"l=99", b"x=1", b"c=a/b"),
        *(b"i=@other", b"h=", b"bh=!", b"t=z", b"\r\n\r\n", b",", b'"', b"(", b"group:;"),
    ]
)
CONTENT = st.one_of(st.binary(max_size=300), st.lists(PIECES, max_size=40).map(b"".join))
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


class Answers:
    """A resolver that says something useless, nothing, or fails, depending on the name."""

    def texts(self, name: str) -> tuple[bytes, ...]:
        return (
            (),
            (b"v=spf1 exists:%{l}.%{h} -all", b"v=DMARC1; p=\xff"),
            (b"v=DMARC1; p=reject",),
            (b"v=DKIM1; p=AAAA; t=y:s",),
        )[len(name) % 4]

    def lookup(self, name: str, rdtype: str) -> tuple[object, ...]:
        if len(name) % 5 == 0:
            raise DnsFailure(f"{name} {rdtype}")
        return ()

    def exchangers(self, domain: str) -> tuple[MailExchanger, ...]:
        return (MailExchanger(1, "x"),)

    def addresses(self, name: str, families: object = ()) -> tuple[str, ...]:
        return ("192.0.2.1",) if len(name) % 2 else ()

    def pointers(self, address: str) -> tuple[str, ...]:
        return ("x.example",)


@settings(max_examples=400, deadline=None)
@given(content=CONTENT, helo=TEXT, sender=TEXT)
def test_every_message_is_judged_and_written_down(content: bytes, helo: str, sender: str) -> None:
    verdicts = evaluate(Answers(), ("192.0.2.1", 4711), helo, sender, content)  # type: ignore[arg-type]
    current = Transaction(
        provider=PROVIDERS["google"],
        peer=("192.0.2.1", 4711),
        helo=helo,
        tls=None,
        sender=sender,
        options=(),
        connected=0.0,
    )
    current.receive(SimpleNamespace(rcpt_tos=["bob@gmail.com"], original_content=content))  # type: ignore[arg-type]
    record = current.message("000001", verdicts, None)
    assert type(record).model_validate_json(record.model_dump_json()) == record
    trace = trace_fields(GOOGLE.mx, record)
    # The trace fields stay three: nothing a peer says can add a field or end the header.
    assert [name for name, _ in headers_of(trace)] == [
        "Return-Path",
        "Authentication-Results",
        "Received",
    ]
    assert b"\r\n\r\n" not in trace
    assert trace.count(b"\n") == trace.count(b"\r\n")
    results = authentication_results(GOOGLE.mx, verdicts)
    assert results.isascii()


@settings(max_examples=300, deadline=None)
@given(content=CONTENT)
def test_no_forged_results_remain(content: bytes) -> None:
    cleaned = without_forged_results(content, GOOGLE.mx)
    header = cleaned.partition(b"\r\n\r\n")[0]
    for line in header.split(b"\r\n"):
        assert not line.lower().startswith(b"authentication-results: gmail-smtp-in.l.google.com;")
    if b"uthentication-" not in content:
        assert cleaned == content
