"""A small sending mail server for the outside world: MX lookup, hosts by preference, every reply.

It has no queue: one try at each address, and a `Transcript` of what every host answered, so that
a refusal at SMTP time or the fallback to a backup MX can be seen.

`python -m mailfleet.lab.mail` reads a `Job` as JSON from standard input and prints the transcript;
that is how the commands use it from outside the lab's network namespace.
"""

from __future__ import annotations

import contextlib
import smtplib
import ssl
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime, make_msgid
from ipaddress import ip_address
from typing import Literal

from pydantic import ConfigDict

from mailfleet.lab.providers.records import Value
from mailfleet.lab.providers.resolver import DnsFailure, Resolver

# How long a host may take to be reached, and to answer a command.
CONNECT_SECONDS = 15.0
ANSWER_SECONDS = 60.0
Step = Literal["dns", "connect", "ehlo", "starttls", "mail", "rcpt", "data"]


class Try(Value):
    """What one address answered; `step` is the last thing asked of it. `code` is None when it
    never answered."""

    host: str
    address: str
    step: Step
    code: int | None
    reply: str
    tls: str | None = None

    @property
    def accepted(self) -> bool:
        """Whether it took the message."""
        return self.step == "data" and self.code is not None and self.code // 100 == 2

    @property
    def final(self) -> bool:
        """Whether a mail server would stop here: taken, or refused for good (RFC 5321, 4.2.1).
        A host that refuses the connection itself is passed over for the next."""
        refused = self.code is not None and self.code // 100 == 5
        return self.accepted or (refused and self.step not in {"connect", "ehlo"})


class Transcript(Value):
    """All that happened on the way to the recipient."""

    sender: str
    recipient: str
    message_id: str
    tries: tuple[Try, ...]

    @property
    def accepted(self) -> bool:
        """Whether some host took the message."""
        return any(attempt.accepted for attempt in self.tries)


class Job(Value):
    """One message to send; an empty `sender` makes it a bounce.

    `sources` are the addresses to send from, at most one a family; empty: the system chooses.
    `hosts` are tried instead of the domain's MX hosts. `dns` is ADDRESS[@PORT], empty: those of
    /etc/resolv.conf.
    """

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    sender: str
    recipient: str
    message: bytes
    helo: str
    sources: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    port: int = 25
    dns: tuple[str, ...] = ()


def gtube() -> str:
    """The text that every spam filter must take for spam (spamassassin.apache.org/gtube)."""
    # Put together here, so that no file of ours is itself refused as mail.
    return "".join(["XJS*C4JDBQADN1.NSBN3*2IDNEN", "*GTUBE-STANDARD-ANTI", "-UBE-TEST-EMAIL*C.34X"])


def eicar() -> str:
    """The text that every virus scanner must take for a virus (eicar.org)."""
    # Put together here, so that no scanner quarantines a file of ours.
    parts = [
        "X5O!P%@AP[4",
        "\\PZX54(P^)7CC)7}$",
        "EICAR-STANDARD",
        "-ANTIVIRUS-TEST",
        "-FILE!$H+H*",
    ]
    return "".join(parts)


def compose(
    sender: str,
    recipient: str,
    subject: str,
    body: str,
    attachment: tuple[str, bytes] | None = None,
) -> bytes:
    """A message with CRLF line ends and a Message-ID in the sender's domain; an attachment is a
    file name and its content."""
    message = EmailMessage(policy=SMTP if _ascii(sender, recipient, subject) else SMTPUTF8)
    message["From"] = sender
    message["To"] = recipient
    message["Subject"] = subject
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2] or "lab.test")
    message.set_content(body)
    if attachment is not None:
        name, content = attachment
        message.add_attachment(
            content, maintype="application", subtype="octet-stream", filename=name
        )
    return message.as_bytes()


def message_id(message: bytes) -> str:
    """The Message-ID of a message, or an empty string."""
    for line in message.splitlines():
        if not line:
            break
        name, _, value = line.partition(b":")
        if name.lower() == b"message-id":
            return value.decode("ascii", "replace").strip()
    return ""


def send(job: Job, resolver: Resolver | None = None) -> Transcript:
    """Deliver to the recipient's MX hosts, the preferred one first, IPv4 before IPv6.

    Nothing is raised for the network's sake: what failed is in the transcript. Without a
    `resolver` the job's `dns` servers are asked.
    """
    tries: list[Try] = []
    for found in _destinations(job, resolver or Resolver(job.dns)):
        tries.append(found if isinstance(found, Try) else _try(job, *found))
        if tries[-1].final:
            break
    return Transcript(
        sender=job.sender,
        recipient=job.recipient,
        message_id=message_id(job.message),
        tries=tuple(tries),
    )


def _destinations(job: Job, resolver: Resolver) -> Iterator[tuple[str, str] | Try]:
    """Host and address of each MX, or a failed Try where DNS has none."""
    domain = job.recipient.rpartition("@")[2].lower()
    ours = {ip_address(source).version for source in job.sources} or {4, 6}
    try:
        hosts = job.hosts or _exchangers(resolver, domain)
    except DnsFailure as failure:
        yield Try(host=domain, address="", step="dns", code=None, reply=str(failure))
        return
    for host in hosts:
        try:
            addresses = resolver.addresses(host, sorted(ours))
            reason = "no address in the families we send from"
        except DnsFailure as failure:
            addresses, reason = (), str(failure)
        if not addresses:
            yield Try(host=host, address="", step="dns", code=None, reply=f"{host}: {reason}")
        for address in addresses:
            yield host, address


def _exchangers(resolver: Resolver, domain: str) -> tuple[str, ...]:
    hosts = tuple(mx.host for mx in resolver.exchangers(domain))
    if hosts == ("",):
        raise DnsFailure(f"{domain} takes no mail (null MX, RFC 7505)")
    return hosts or (domain,)


def _try(job: Job, host: str, address: str) -> Try:
    family = ip_address(address).version
    source = next((s for s in job.sources if ip_address(s).version == family), None)
    session = _Session(host, address, job.helo, source)
    try:
        session.deliver(job)
    except (OSError, UnicodeError, smtplib.SMTPException) as error:
        session.code, session.reply = _code(error), str(error) or type(error).__name__
    finally:
        session.close()
    return Try(
        host=host,
        address=address,
        step=session.step,
        code=session.code,
        reply=session.reply,
        tls=session.tls,
    )


class _Session:
    """One SMTP session; `step`, `code` and `reply` are those of the last command."""

    def __init__(self, host: str, address: str, helo: str, source: str | None) -> None:
        self._host, self._address = host, address
        self.step: Step = "connect"
        self.code: int | None = None
        self.reply = ""
        self.tls: str | None = None
        self._smtp = smtplib.SMTP(
            local_hostname=helo,
            timeout=CONNECT_SECONDS,
            source_address=None if source is None else (source, 0),
        )

    def deliver(self, job: Job) -> None:
        """Stops at the first refusal. Raises OSError and SMTPException."""
        smtp = self._smtp
        if not self._ask("connect", lambda: smtp.connect(self._address, job.port)):
            return
        if smtp.sock is not None:
            smtp.sock.settimeout(ANSWER_SECONDS)
        smtp._host = self._host  # type: ignore[attr-defined]  # SNI: the name, not the address
        if not self._ask("ehlo", smtp.ehlo) and not self._ask("ehlo", smtp.helo):
            return
        if smtp.has_extn("starttls"):
            if not self._ask("starttls", lambda: smtp.starttls(context=_opportunistic())):
                return
            self.tls = smtp.sock.version() if isinstance(smtp.sock, ssl.SSLSocket) else None
            if not self._ask("ehlo", smtp.ehlo):
                return
        options = []
        if not job.message.isascii() and smtp.has_extn("8bitmime"):
            options.append("BODY=8BITMIME")
        if not _ascii(job.sender, job.recipient) or not _header(job.message).isascii():
            options.append("SMTPUTF8")
        if self._ask("mail", lambda: smtp.mail(job.sender, options)) and self._ask(
            "rcpt", lambda: smtp.rcpt(job.recipient)
        ):
            self._ask("data", lambda: smtp.data(job.message))

    def close(self) -> None:
        """Say goodbye if somebody is still there."""
        with contextlib.suppress(OSError, smtplib.SMTPException):
            self._smtp.quit()
        self._smtp.close()

    def _ask(self, step: Step, command: Callable[[], tuple[int, bytes]]) -> bool:
        self.step, self.code, self.reply = step, None, ""
        self.code, reply = command()
        self.reply = reply.decode("utf-8", "replace")
        return self.code // 100 == 2


def _opportunistic() -> ssl.SSLContext:
    # RFC 7435: an unverified certificate is better than clear text, which is the alternative.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _code(error: Exception) -> int | None:
    return error.smtp_code if isinstance(error, smtplib.SMTPResponseException) else None


def _header(message: bytes) -> bytes:
    return message.partition(b"\r\n\r\n")[0]


def _ascii(*texts: str) -> bool:
    return all(text.isascii() for text in texts)


def main() -> None:
    """Send the job on standard input."""
    transcript = send(Job.model_validate_json(sys.stdin.buffer.read()))
    sys.stdout.write(transcript.model_dump_json() + "\n")


if __name__ == "__main__":
    main()
