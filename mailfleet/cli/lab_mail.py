"""`mailfleet lab send` and `inbox`: mail in the lab, and what became of it."""

from __future__ import annotations

import sys
import time
from datetime import datetime
from pathlib import Path

import click

from mailfleet.cli.common import USAGE, Failure, emit, json_option, print_table
from mailfleet.cli.lab_errors import clear_errors
from mailfleet.cli.lab_provider import mail_address, provider
from mailfleet.lab import mailboxes, post
from mailfleet.lab.lab import Lab
from mailfleet.lab.mail import Job, Transcript, compose, eicar, gtube
from mailfleet.lab.providers import store
from mailfleet.lab.providers.catalogue import PROVIDERS
from mailfleet.lab.providers.records import Attempt, Message

# -- send


@click.command()
@click.option("--from", "sender", default="alice@gmail.com", show_default=True, metavar="ADDRESS")
@click.option("--to", "recipient", required=True, metavar="ADDRESS")
@click.option("--via", metavar="HOST", help="Hand it to sendmail on this host of the fleet.")
@click.option(
    "--as",
    "world",
    type=click.Choice(sorted(PROVIDERS)),
    help="From the world: whose address and HELO to use; default: that of the sender's domain.",
)
@click.option("--mx", "hosts", multiple=True, metavar="HOST", help="Try this host, not the MX.")
@click.option("--subject", default="A message in the lab", show_default=True)
@click.option("--body", default="Hello from the lab.", show_default=True, help="- reads stdin.")
@click.option("--gtube", "spam", is_flag=True, help="With the text every spam filter must catch.")
@click.option("--eicar", "virus", is_flag=True, help="With the file every scanner must catch.")
@click.option("--wait", type=click.FloatRange(min=0), metavar="SECONDS", help="Until it is there.")
@json_option
@clear_errors
def send(
    *,
    sender: str,
    recipient: str,
    via: str | None,
    world: str | None,
    hosts: tuple[str, ...],
    subject: str,
    body: str,
    spam: bool,
    virus: bool,
    wait: float | None,
    as_json: bool,
) -> None:
    """Send a message in the lab: from the world by MX lookup, or through a host of the fleet.

    Exit code 1 when nobody takes it, or when it is not there after --wait.
    """
    mail_address("--from", sender)
    mail_address("--to", recipient)
    if via and (world or hosts):
        raise click.UsageError("--via leaves the route to that host: drop --as and --mx.")
    text = sys.stdin.read() if body == "-" else body
    text = f"{text}\n{gtube()}" if spam else text
    attachment = ("eicar.com", eicar().encode()) if virus else None
    message = compose(sender, recipient, subject, text + "\n", attachment)
    here, since = Lab(), time.time()
    transcript = None
    if via:
        via = post.via(here, via, sender, recipient, message)
    else:
        identity = PROVIDERS[world] if world else post.identity(sender)
        job = Job(
            sender=sender,
            recipient=recipient,
            message=message,
            helo=identity.mx,
            sources=identity.addresses,
            hosts=hosts,
        )
        transcript = post.from_world(here, job)
    taken = transcript is None or transcript.accepted
    arrival = None
    if wait is not None and taken:
        arrival = post.wait(here, message, recipient, since, wait)
    if as_json:
        emit({"via": via, "transcript": transcript, "arrival": arrival}, as_json)
    else:
        click.echo("\n".join(_told(via, transcript, arrival)))
    if not taken:
        raise click.exceptions.Exit(1)
    if wait is not None and (arrival is None or arrival.refused):
        seen = "was refused" if arrival else f"is not there after {wait:g} s"
        hint = f" Its queue: `mailfleet lab ssh {via} postqueue -p`." if via else ""
        raise Failure(f"The message to {recipient} {seen}.{hint}")


def _told(
    via: str | None, transcript: Transcript | None, arrival: post.Arrival | None
) -> list[str]:
    lines = [f"{via} took it into its queue"] if via else []
    for attempt in transcript.tries if transcript else ():
        where = f"{attempt.host} [{attempt.address}]" if attempt.address else attempt.host
        code = f"{attempt.code} " if attempt.code else ""
        lines.append(f"{where} at {attempt.step}: {code}{attempt.reply}")
    if arrival is not None:
        lines += [f"{arrival.place}: {a.code} at {a.stage}: {a.reply}" for a in arrival.attempts]
        if arrival.path:
            lines.append(f"arrived: {arrival.place}:{arrival.path}")
        if arrival.message:
            shown = ", ".join(f"{k} {v}" for k, v in _verdicts(arrival.message).items())
            lines.append(f"arrived: {arrival.place} {arrival.message.id}: {shown}")
    return lines


# -- inbox


@click.command()
@click.argument("name", metavar="[PROVIDER]", type=click.Choice(sorted(PROVIDERS)), required=False)
@click.option("--last", type=click.IntRange(min=1), default=20, show_default=True)
@click.option("--show", "id", metavar="ID", help="The whole message and its verdicts.")
@click.option("--refused", is_flag=True, help="What was refused and deferred instead.")
@json_option
@clear_errors
def inbox(name: str | None, last: int, id: str | None, refused: bool, as_json: bool) -> None:
    """What the mailbox providers received, and how they judged it."""
    layout = Lab().layout
    directories = {
        each: mailboxes.directory(layout, each) for each in ([name] if name else PROVIDERS)
    }
    if id is not None:
        _show(directories, id, as_json)
    elif refused:
        attempts = [a for d in directories.values() for a in store.attempts(d)]
        attempts = sorted(attempts, key=lambda a: a.time)[-last:]
        emit(attempts, True) if as_json else _attempts(attempts)
    else:
        found = [m for d in directories.values() for m in store.messages(d, last)]
        found = sorted(found, key=lambda m: m.times.stored)[-last:]
        emit(found, True) if as_json else _messages(found)


def _messages(found: list[Message]) -> None:
    columns = ["ID", "at", "time", "from", "to", "peer"]
    print_table(
        [*columns, "SPF", "DKIM", "DMARC", "PTR", "TLS", "folder"],
        [
            [
                m.id,
                m.provider,
                _clock(m.times.stored),
                m.envelope.sender or "<>",
                ", ".join(m.envelope.recipients),
                m.verdicts.peer.ptr or m.verdicts.peer.address,
                *_verdicts(m).values(),
                m.folder,
            ]
            for m in found
        ],
    )


def _attempts(found: list[Attempt]) -> None:
    print_table(
        ["at", "time", "from", "to", "peer", "stage", "reply"],
        [
            [
                a.provider,
                _clock(a.time),
                a.sender or "<>",
                ", ".join(a.recipients),
                a.address,
                a.stage,
                a.reply.split("\n")[0],
            ]
            for a in found
        ],
    )


def _show(directories: dict[str, Path], id: str, as_json: bool) -> None:
    found = []
    for directory in directories.values():
        try:
            found.append(store.message(directory, id))
        except KeyError:
            continue
    if not found:
        raise Failure(f"No message {id} at {' or '.join(directories)}. See `mailfleet lab inbox`.")
    if len(found) > 1:
        names = " and ".join(record.provider for record, _ in found)
        raise Failure(f"{names} both have a message {id}: name the provider too.", USAGE)
    record, content = found[0]
    text = content.decode("utf-8", "replace")
    if as_json:
        emit({"record": record, "content": text}, as_json)
        return
    verdicts = record.verdicts
    click.echo(f"{record.provider} {record.id}, {record.folder}, {record.size} bytes")
    click.echo(", ".join(f"{name} {value}" for name, value in _verdicts(record).items()))
    reasons = [verdicts.peer.reason, verdicts.spf.reason, verdicts.dmarc.reason]
    reasons += [f"{d.domain}/{d.selector}: {d.reason}" for d in verdicts.dkim if d.reason]
    for reason in filter(None, reasons):
        click.echo(f"  {reason}")
    click.echo(f"\n{text}", nl=False)


def _verdicts(message: Message) -> dict[str, str]:
    verdicts = message.verdicts
    return {
        "SPF": verdicts.spf.result,
        "DKIM": verdicts.dkim_result,
        "DMARC": verdicts.dmarc.result,
        "PTR": verdicts.peer.reverse,
        "TLS": message.tls.version if message.tls else "none",
    }


def _clock(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds):%H:%M:%S}"


COMMANDS: tuple[click.Command, ...] = (send, inbox, provider)
