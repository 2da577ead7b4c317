"""Complaints: an ARF report (RFC 5965) of a message that a user called spam, sent by mail."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from email.message import EmailMessage, Message
from email.mime.multipart import MIMEMultipart
from email.mime.nonmultipart import MIMENonMultipart
from email.mime.text import MIMEText
from email.utils import format_datetime, make_msgid

from mailfleet.lab.mail import Job, Transcript, send
from mailfleet.lab.providers import records
from mailfleet.lab.providers.catalogue import Provider
from mailfleet.lab.providers.resolver import Resolver

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
    """The report with the whole message in it, CRLF line ends."""
    mail = MIMEMultipart("report")
    mail.set_param("report-type", "feedback-report")
    mail["From"] = f"{provider.title} feedback loop <{provider.complaints_from}>"
    mail["To"] = to
    mail["Subject"] = f"FW: {message.subject}".translate({10: 32, 13: 32})
    mail["Date"] = format_datetime(datetime.now(UTC))
    mail["Message-ID"] = make_msgid(domain=provider.domain)
    mail.attach(
        MIMEText(
            f"This is an email abuse report for an email message received from IP "
            f"{message.verdicts.peer.address} on {_date(message.times.data)}.\r\n"
            f"A user of {provider.title} reported it as spam.\r\n",
            "plain",
            "us-ascii",
        )
    )
    mail.attach(_feedback(provider, message))
    original = MIMENonMultipart("message", "rfc822")
    original["Content-Disposition"] = "inline"
    original.set_payload(content.decode("ascii", "surrogateescape"))
    mail.attach(original)
    return mail.as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


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


def _feedback(provider: Provider, message: records.Message) -> Message:
    fields = EmailMessage()
    fields["Feedback-Type"] = "abuse"
    fields["User-Agent"] = "mailfleet-lab/1"
    fields["Version"] = "1"
    fields["Original-Mail-From"] = f"<{message.envelope.sender}>"
    for recipient in message.envelope.recipients:
        fields["Original-Rcpt-To"] = f"<{recipient}>"
    fields["Arrival-Date"] = _date(message.times.data)
    fields["Reporting-MTA"] = f"dns; {provider.mx}"
    fields["Source-IP"] = message.verdicts.peer.address
    fields["Authentication-Results"] = " ".join(message.authentication_results.split())
    for signature in message.verdicts.dkim:
        if signature.result == "pass":
            fields["Reported-Domain"] = signature.domain
    part = MIMENonMultipart("message", "feedback-report")
    part.set_payload("".join(f"{name}: {value}\n" for name, value in fields.items()))
    return part


def _date(seconds: float) -> str:
    return format_datetime(datetime.fromtimestamp(seconds, UTC))
