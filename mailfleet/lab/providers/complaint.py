"""Complaints: an ARF report (RFC 5965) of a message that a user called spam, sent by mail."""

from __future__ import annotations

import asyncio
import secrets
import time
from datetime import UTC, datetime
from email.header import Header
from email.utils import format_datetime, make_msgid

from mailfleet.lab.mail import Job, Transcript, send
from mailfleet.lab.providers import records
from mailfleet.lab.providers.catalogue import Provider
from mailfleet.lab.providers.resolver import Resolver

CRLF = "\r\n"
# Seconds before each try: a receiver that greylists or is away for a moment gets its report.
TRIES = (0, 5, 15, 30, 60, 120, 300)


def feedback_address(message: records.Message) -> str | None:
    """abuse@ the domain of the first signature that passed, the author domain's if it has one.

    None when nothing passed: nobody is known to be responsible for the message.
    """
    passed = [d.domain for d in message.verdicts.dkim if d.result == "pass"]
    author = message.verdicts.dmarc.domain
    domain = author if author in passed else next(iter(passed), None)
    return None if domain is None else f"abuse@{domain}"


def report(provider: Provider, to: str, message: records.Message, content: bytes) -> bytes:
    """The report with the whole message in it, byte for byte; CRLF line ends."""
    subject = Header(" ".join(f"FW: {message.subject}".split()), "utf-8", maxlinelen=70)
    # Put together by hand: Python's email package would re-encode an 8-bit original.
    boundary = f"=_{secrets.token_hex(16)}"
    head = (
        f"From: {provider.title} feedback loop <{provider.complaints_from}>\r\n"
        f"To: {to}\r\n"
        f"Subject: {subject.encode(linesep=CRLF)}\r\n"
        f"Date: {format_datetime(datetime.now(UTC))}\r\n"
        f"Message-ID: {make_msgid(domain=provider.domain)}\r\n"
        "MIME-Version: 1.0\r\n"
        "Content-Type: multipart/report; report-type=feedback-report;\r\n"
        f'\tboundary="{boundary}"\r\n'
        "\r\n"
        f"--{boundary}\r\n"
        "Content-Type: text/plain; charset=us-ascii\r\n"
        "\r\n"
        "This is an email abuse report for an email message received from IP\r\n"
        f"{message.verdicts.peer.address} on {_date(message.times.data)}.\r\n"
        f"A user of {provider.title} reported it as spam.\r\n"
        f"--{boundary}\r\n"
        "Content-Type: message/feedback-report\r\n"
        "\r\n"
        f"{_feedback(provider, message)}"
        f"--{boundary}\r\n"
        "Content-Type: message/rfc822\r\n"
        f"Content-Transfer-Encoding: {'7bit' if content.isascii() else '8bit'}\r\n"
        "Content-Disposition: inline\r\n"
        "\r\n"
    )
    return head.encode("ascii", "replace") + content + f"\r\n--{boundary}--\r\n".encode()


async def deliver(job: Job, resolver: Resolver) -> tuple[Transcript, int]:
    """Send a report, patiently: the last transcript and the number of tries."""
    tries = 0
    for pause in TRIES:
        await asyncio.sleep(pause)
        tries += 1
        transcript = await asyncio.to_thread(send, job, resolver)
        if any(attempt.final for attempt in transcript.tries):
            break
    return transcript, tries


def outcome(message: records.Message, transcript: Transcript, tries: int) -> records.Complaint:
    """What to note about a report that was delivered or given up."""
    last = transcript.tries[-1]
    return records.Complaint(
        id=message.id,
        time=time.time(),
        to=transcript.recipient,
        delivered=transcript.accepted,
        tries=tries,
        reply=" ".join(str(part) for part in (last.host, last.code, last.reply) if part),
    )


def _feedback(provider: Provider, message: records.Message) -> str:
    """RFC 5965, 3: the machine-readable part."""
    fields = [
        ("Feedback-Type", "abuse"),
        ("User-Agent", "mailfleet-lab/1"),
        ("Version", "1"),
        ("Original-Mail-From", f"<{message.envelope.sender}>"),
        *(("Original-Rcpt-To", f"<{address}>") for address in message.envelope.recipients),
        ("Arrival-Date", _date(message.times.data)),
        ("Reporting-MTA", f"dns; {provider.mx}"),
        ("Source-IP", message.verdicts.peer.address),
        ("Authentication-Results", message.authentication_results),
        *(("Reported-Domain", d.domain) for d in message.verdicts.dkim if d.result == "pass"),
    ]
    return "".join(f"{name}: {value}\r\n" for name, value in fields) + "\r\n"


def _date(seconds: float) -> str:
    return format_datetime(datetime.fromtimestamp(seconds, UTC))
