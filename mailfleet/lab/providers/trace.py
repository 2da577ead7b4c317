"""The header fields a provider puts on top of what it stores."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import format_datetime

from mailfleet.lab.providers.records import Message


def trace_fields(host: str, message: Message) -> bytes:
    """Return-Path, Authentication-Results and Received (RFC 5321, 4.4; RFC 8601, 4)."""
    peer, envelope, tls = message.verdicts.peer, message.envelope, message.tls
    literal = f"IPv6:{peer.address}" if ":" in peer.address else peer.address
    protocol = ("UTF8SMTP" if "SMTPUTF8" in envelope.options else "ESMTP") + ("S" if tls else "")
    encryption = f"\r\n\t(version={tls.version} cipher={tls.cipher})" if tls else ""
    to = f"\r\n\tfor <{_line(envelope.recipients[0])}>" if len(envelope.recipients) == 1 else ""
    date = format_datetime(datetime.fromtimestamp(message.times.data, UTC))
    fields = (
        f"Return-Path: <{_line(envelope.sender)}>\r\n"
        f"Authentication-Results: {message.authentication_results}\r\n"
        f"Received: from {_plain(peer.helo)} ({_plain(peer.ptr or 'unknown')} [{literal}])\r\n"
        f"\tby {host} with {protocol} id {message.id}{encryption}{to};\r\n\t{date}\r\n"
    )
    return fields.encode("utf-8", "replace")


def without_forged_results(content: bytes, host: str) -> bytes:
    """The message without Authentication-Results fields that claim to be `host`'s own (RFC 8601,
    section 5); everything else stays as it came."""
    head, gap, body = content.partition(b"\r\n\r\n")
    ours = re.compile(
        rb"^authentication-results:\s*" + re.escape(host.encode()) + rb"[\s;].*?\r\n(?![ \t])",
        re.IGNORECASE | re.MULTILINE | re.DOTALL,
    )
    return (
        ours.sub(b"", head + b"\r\n")[:-2] + gap + body if ours.search(head + b"\r\n") else content
    )


def _plain(text: str) -> str:
    return re.sub(r"[^!-~]", "?", text)


def _line(text: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f]", "?", text)
