"""What the providers say when they refuse or put off, in the words the real ones use.

Senders (and our warm-up controller) recognise a block by its text more than by its code, so the
words matter. Collected from the providers' postmaster pages and from sending logs, 2024-2026.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Stage = Literal["mail", "rcpt", "data"]


class BadReply(ValueError):
    """A reply that no SMTP server could give."""


@dataclass(frozen=True)
class Subject:
    """What the placeholders of a reply stand for."""

    address: str
    host: str
    id: str
    domain: str = ""
    recipient: str = ""
    spf: str = ""
    dkim: str = ""
    dmarc: str = ""


@dataclass(frozen=True)
class Reply:
    """A refusal: code, enhanced status code (RFC 3463), lines with placeholders of `Subject`, and
    the SMTP command it answers."""

    code: int
    enhanced: str
    lines: tuple[str, ...]
    stage: Stage = "data"

    def render(self, subject: Subject) -> str:
        """The reply as it goes over the wire, without the last CRLF. Google repeats the enhanced
        code on every line, and joins it to the code by the separator."""
        last = len(self.lines) - 1
        rendered = []
        for number, line in enumerate(self.lines):
            text = line.format_map({name: _plain(v) for name, v in vars(subject).items()})
            mark = " " if number == last else "-"
            status = f"{self.enhanced} " if self.enhanced else ""
            rendered.append(f"{self.code}{mark}{status}{text}")
        return "\r\n".join(rendered)


REPLIES: dict[str, Reply] = {
    "google-rate": Reply(
        421,
        "4.7.28",
        (
            "Gmail has detected an unusual rate of unsolicited mail originating",
            "from your IP address [{address}]. To protect our users from spam, mail",
            "sent from your IP address has been temporarily rate limited. For more",
            "information, go to https://support.google.com/mail/?p=UnsolicitedRateLimitError",
            "to review our Bulk Email Senders Guidelines. {id} - gsmtp",
        ),
    ),
    "google-block": Reply(
        550,
        "5.7.1",
        (
            "[{address}      19] Gmail has detected that this message is",
            "likely unsolicited mail. To reduce the amount of spam sent to Gmail,",
            "this message has been blocked. For more information, go to",
            "https://support.google.com/mail/?p=UnsolicitedMessageError {id} - gsmtp",
        ),
    ),
    "google-no-user": Reply(
        550,
        "5.1.1",
        (
            "The email account that you tried to reach does not exist. Please try",
            "double-checking the recipient's email address for typos or",
            "unnecessary spaces. For more information, go to",
            "https://support.google.com/mail/?p=NoSuchUser {id} - gsmtp",
        ),
        stage="rcpt",
    ),
    "google-quota": Reply(
        452,
        "4.2.2",
        (
            "The recipient's inbox is out of storage space. Please direct the",
            "recipient to https://support.google.com/mail/?p=OverQuotaTemp {id} - gsmtp",
        ),
        stage="rcpt",
    ),
    "google-unauthenticated": Reply(
        550,
        "5.7.26",
        (
            "Your email has been blocked because the sender is unauthenticated.",
            "Gmail requires all senders to authenticate with either SPF or DKIM.",
            "",
            " Authentication results:",
            " DKIM = {dkim}",
            " SPF [{domain}] with ip: [{address}] = {spf}",
            "",
            " For instructions on setting up authentication, go to",
            " https://support.google.com/mail/answer/81126#authentication {id} - gsmtp",
        ),
    ),
    "google-dmarc": Reply(
        550,
        "5.7.26",
        (
            "Unauthenticated email from {domain} is not accepted due to domain's",
            "DMARC policy. Please contact the administrator of {domain} domain if",
            "this was a legitimate mail. To learn about the DMARC initiative, go to",
            "https://support.google.com/mail/?p=DmarcRejection {id} - gsmtp",
        ),
    ),
    "google-ptr": Reply(
        550,
        "5.7.25",
        (
            "[{address}] The IP address sending this message does not have a PTR",
            "record setup, or the corresponding forward DNS entry does not match",
            "the sending IP. As a policy, Gmail does not accept messages from IPs",
            "with missing PTR records. For more information, go to",
            "https://support.google.com/mail/answer/81126#ip-practices {id} - gsmtp",
        ),
    ),
    "google-from": Reply(
        550,
        "5.7.1",
        (
            "[{address}] Messages with multiple addresses in From: header, or without",
            "a valid address in it, are not accepted. {id} - gsmtp",
        ),
    ),
    "google-dns": Reply(
        451,
        "4.3.0",
        ("Mail server temporarily rejected message. DNS did not answer. {id} - gsmtp",),
    ),
    "google-relay": Reply(
        550,
        "5.7.1",
        ("Relaying denied. <{recipient}> is not a recipient of ours. {id} - gsmtp",),
        stage="rcpt",
    ),
    "microsoft-rate": Reply(
        451,
        "4.7.650",
        (
            "The mail server [{address}] has been temporarily rate limited due to IP "
            "reputation. For e-mail delivery information, see https://aka.ms/postmaster (S3140) "
            "[{host} {id}]",
        ),
        stage="mail",
    ),
    "microsoft-block": Reply(
        550,
        "5.7.1",
        (
            "Unfortunately, messages from [{address}] weren't sent. Please contact your Internet "
            "service provider since part of their network is on our block list (S3140). You can "
            "also refer your provider to "
            "http://mail.live.com/mail/troubleshooting.aspx#errors. [{host} {id}]",
        ),
        stage="mail",
    ),
    "microsoft-no-user": Reply(
        550,
        "5.5.0",
        ("Requested action not taken: mailbox unavailable (S2017062302). [{host} {id}]",),
        stage="rcpt",
    ),
    "microsoft-quota": Reply(
        452,
        "4.2.2",
        ("Mailbox full: the mailbox {recipient} has exceeded its quota. [{host} {id}]",),
        stage="rcpt",
    ),
    "microsoft-unauthenticated": Reply(
        550,
        "5.7.515",
        (
            "Access denied, sending domain {domain} does not meet the required authentication "
            "level. The sender's domain in the 5322.From address doesn't meet the authentication "
            "requirements defined for the sender. To learn how to fix this see: "
            "https://go.microsoft.com/fwlink/p/?linkid=2319303 Spf= {spf} , Dkim= {dkim} , "
            "DMARC= {dmarc} [{host} {id}]",
        ),
    ),
    "microsoft-dmarc": Reply(
        550,
        "5.7.509",
        (
            "Access denied, sending domain {domain} does not pass DMARC verification and has a "
            "DMARC policy of reject. [{host} {id}]",
        ),
    ),
    "microsoft-ptr": Reply(
        550,
        "5.7.25",
        (
            "Access denied, the sending IPv4 or IPv6 address [{address}] must have a reverse DNS "
            "record that leads back to it. [{host} {id}]",
        ),
    ),
    "microsoft-from": Reply(
        550,
        "5.6.0",
        ("A single valid address is required in the From header. [{host} {id}]",),
    ),
    "microsoft-dns": Reply(
        451,
        "4.7.500",
        ("Server busy. Please try again later: DNS did not answer. [{host} {id}]",),
    ),
    "microsoft-relay": Reply(
        550,
        "5.7.64",
        ("TenantAttribution; Relay Access Denied <{recipient}> [{host} {id}]",),
        stage="rcpt",
    ),
    "yahoo-rate": Reply(
        421,
        "4.7.0",
        (
            "[TSS04] Messages from {address} temporarily deferred due to unexpected volume or "
            "user complaints - 4.16.55.1; see https://postmaster.yahooinc.com/error-codes",
        ),
        stage="mail",
    ),
    "yahoo-block": Reply(
        553,
        "5.7.1",
        (
            "[BL21] Connections will not be accepted from {address}, because the ip is in "
            "Spamhaus's list; see https://postmaster.yahooinc.com/error-codes",
        ),
        stage="mail",
    ),
}


# How each says "passed" and "did not" inside those replies.
VERDICTS = {"google": ("pass", "did not pass"), "microsoft": ("Pass", "Fail")}


def parse(text: str) -> Reply:
    """A reply of the operator's own: `CODE [ENHANCED] TEXT`; no placeholders.

    Raises BadReply unless CODE is 400 to 599 and ENHANCED, if given, is of the same class.
    """
    found = re.fullmatch(r"([45]\d\d)[ -](?:([45]\.\d{1,3}\.\d{1,3}) )?([ -~]+)", text.strip())
    if not found:
        raise BadReply(
            f"{text!r} is not an SMTP refusal. Write CODE [ENHANCED] TEXT on one line in ASCII, "
            "for instance: 450 4.2.1 Try later"
        )
    code, enhanced, words = found.groups()
    if enhanced and enhanced[0] != code[0]:
        raise BadReply(f"{text!r}: code {code} and status {enhanced} are of different classes.")
    escaped = words.replace("{", "{{").replace("}", "}}")
    return Reply(int(code), enhanced or "", (escaped,))


def _plain(value: str) -> str:
    # Peers choose some of these values; a reply is one line of printable ASCII (RFC 5321, 4.2).
    return re.sub(r"[^ -~]", "?", value)
