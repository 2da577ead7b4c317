"""Posting a message in the running lab, and finding out where it went."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time

from mailfleet.fleet.model import Role
from mailfleet.lab import mailboxes
from mailfleet.lab.errors import LabError
from mailfleet.lab.lab import Lab
from mailfleet.lab.mail import Job, Transcript, message_id
from mailfleet.lab.providers import store
from mailfleet.lab.providers.catalogue import GOOGLE, Provider, provider_of
from mailfleet.lab.providers.records import Attempt, Message, Value

# Between two looks at a mailbox.
POLL_SECONDS = 0.3


class Arrival(Value):
    """Where a message was found. `place` is a provider's name or a host of the fleet; one of
    `message` and `attempts` is filled for a provider, `path` for a Maildir on a host."""

    place: str
    message: Message | None = None
    attempts: tuple[Attempt, ...] = ()
    path: str = ""

    @property
    def refused(self) -> bool:
        """Whether it was turned away for good."""
        return any(attempt.code >= 500 for attempt in self.attempts)


def identity(address: str) -> Provider:
    """The provider that a sender of the outside world posts from: its own, else google."""
    return provider_of(address.rpartition("@")[2]) or GOOGLE


def from_world(lab: Lab, job: Job) -> Transcript:
    """Send from inside the lab's network. Raises LabError when it is not up."""
    command = [sys.executable, "-m", "mailfleet.lab.mail"]
    try:
        done = lab.run(command, input=job.model_dump_json())
    except subprocess.CalledProcessError as error:
        raise LabError(f"The message could not be sent: {error.stderr.strip()}") from error
    return Transcript.model_validate_json(done.stdout)


def via(lab: Lab, host: str, sender: str, recipient: str, message: bytes) -> str:
    """Hand a message to sendmail(1) on a sender of the fleet; the host's full name.

    Raises LabError when the host does not take it.
    """
    target = lab.host(host)
    command = ["/usr/sbin/sendmail", "-i", "-f", sender, "--", recipient]
    text = message.replace(b"\r\n", b"\n").decode("utf-8", "surrogateescape")
    try:
        lab.ssh(target.name, shlex.join(command), input=text)
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout or "").strip() or f"exit code {error.returncode}"
        raise LabError(
            f"{target.name} did not take the message: {said}",
            "Is it deployed? `mailfleet lab run -- mailfleet deploy` does that.",
        ) from error
    return target.name


def wait(lab: Lab, message: bytes, recipient: str, since: float, seconds: float) -> Arrival | None:
    """Where a message posted at `since` (epoch seconds) has gone, after at most so many seconds.

    A provider's mailbox, or a Maildir on the mx hosts. A deferral is waited out;
    what it was is in the result when the time is over. None: not seen at all. Raises LabError.
    """
    end = time.monotonic() + seconds
    provider = provider_of(recipient.rpartition("@")[2])
    id = message_id(message)
    while True:
        if provider is not None:
            found = _at_provider(lab, provider, id, recipient, since)
            done = found is not None and (found.message is not None or found.refused)
        else:
            found = _at_host(lab, id)
            done = found is not None
        if done or time.monotonic() >= end:
            return found
        time.sleep(POLL_SECONDS)


def _at_provider(
    lab: Lab, provider: Provider, id: str, recipient: str, since: float
) -> Arrival | None:
    directory = mailboxes.directory(lab.layout, provider.name)
    message = store.find(directory, id)
    # Before DATA there is no Message-ID to know it by.
    attempts = tuple(
        attempt
        for attempt in store.attempts(directory)
        if attempt.time >= since
        and (attempt.message_id == id or attempt.recipients == (recipient,))
    )
    if message is None and not attempts:
        return None
    return Arrival(place=provider.name, message=message, attempts=attempts)


def _at_host(lab: Lab, id: str) -> Arrival | None:
    # Not only in the recipient's own Maildir: an alias (abuse, postmaster) leads to another.
    look = f"grep -rlsF -- {shlex.quote(id)} /var/mail/vhosts"
    for host in lab.record().hosts:
        if host.role is not Role.MX or not lab.is_on(host.name):
            continue
        done = lab.ssh(host.name, look, check=False)
        if done.stdout.strip():
            return Arrival(place=host.name, path=done.stdout.split("\n")[0])
    return None
