"""The receiving side of a mailbox provider: an aiosmtpd server and what its sessions share."""

from __future__ import annotations

import asyncio
import logging
import ssl
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import AnyStr

from aiosmtpd.smtp import SMTP

from mailfleet.lab.mail import Job
from mailfleet.lab.providers import complaint
from mailfleet.lab.providers.behaviour import Commands
from mailfleet.lab.providers.catalogue import Provider
from mailfleet.lab.providers.evaluate import evaluate
from mailfleet.lab.providers.handler import Handler
from mailfleet.lab.providers.records import Message, Verdicts
from mailfleet.lab.providers.resolver import Resolver
from mailfleet.lab.providers.store import Store
from mailfleet.lab.providers.trace import trace_fields, without_forged_results
from mailfleet.lab.providers.transaction import Transaction

# Longer than the longest delay of a `slow` rule; RFC 5321, 4.5.3.2.7 asks for 5 minutes at least.
SESSION_SECONDS = 600.0
# Evaluations at once: they wait for DNS more than they compute.
WORKERS = 16

log = logging.getLogger(__name__)


class Smtp(SMTP):
    """aiosmtpd's server, which hangs up after saying 421 (RFC 5321, 3.8)."""

    def __init__(self, service: Service, tls: ssl.SSLContext | None) -> None:
        super().__init__(
            Handler(service),
            hostname=service.provider.mx,
            ident="ESMTP",
            data_size_limit=service.provider.size_limit,
            enable_SMTPUTF8=True,
            tls_context=tls,
            timeout=SESSION_SECONDS,
            loop=asyncio.get_running_loop(),
        )

    async def push(self, status: AnyStr) -> None:
        await super().push(status)
        if status[:3] in {"421", b"421"} and self.transport is not None:
            self.transport.close()


@dataclass
class Service:
    """One provider at work. `sources` are the addresses its own mail leaves from."""

    provider: Provider
    resolver: Resolver
    store: Store
    commands: Commands
    sources: tuple[str, ...] = ()
    delivery_port: int = 25
    _workers: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(WORKERS, thread_name_prefix="evaluate")
    )
    _complaints: set[asyncio.Task[None]] = field(default_factory=set)

    async def listen(self, address: str, port: int, tls: ssl.SSLContext | None) -> asyncio.Server:
        """Serve on one address until the returned server is closed. Raises OSError."""
        loop = asyncio.get_running_loop()
        return await loop.create_server(lambda: Smtp(self, tls), address, port, backlog=512)

    async def evaluate(self, current: Transaction) -> Verdicts:
        """Judge a message without holding up the other sessions."""
        return await asyncio.get_running_loop().run_in_executor(
            self._workers,
            evaluate,
            self.resolver,
            current.peer,
            current.helo,
            current.sender,
            current.content,
        )

    async def receives(self, recipient: str) -> bool:
        """Whether a recipient is ours: in a domain of ours, or in one whose MX we are (the
        provider's customers with domains of their own). Raises DnsFailure."""
        domain = recipient.rpartition("@")[2].lower()
        if domain in self.provider.domains:
            return True
        exchangers = await asyncio.to_thread(self.resolver.exchangers, domain)
        return self.provider.mx in (mx.host for mx in exchangers)

    def keep(self, message: Message, content: bytes) -> None:
        """Store a message under its trace fields. Raises OSError."""
        trace = trace_fields(self.provider.mx, message)
        self.store.add(message, trace + without_forged_results(content, self.provider.mx))

    def complain(self, message: Message, content: bytes, feedback: str | None) -> None:
        """Send a complaint in the background and note what became of it."""
        to = feedback or complaint.feedback_address(message)
        if to is None:
            log.warning("message %s: no DKIM signature passed, nobody to tell", message.id)
            return

        async def deliver() -> None:
            job = Job(
                sender=self.provider.complaints_from,
                recipient=to,
                message=complaint.report(self.provider, to, message, content),
                helo=self.provider.mx,
                sources=self.sources,
                port=self.delivery_port,
            )
            transcript, tries = await complaint.deliver(job, self.resolver)
            self.store.complaint(complaint.outcome(message, transcript, tries))

        task = asyncio.create_task(deliver())
        self._complaints.add(task)
        task.add_done_callback(self._complained)

    def _complained(self, task: asyncio.Task[None]) -> None:
        self._complaints.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a complaint failed", exc_info=task.exception())

    def close(self) -> None:
        """Drop what is still being worked on."""
        for task in tuple(self._complaints):
            task.cancel()
        self._workers.shutdown(wait=False, cancel_futures=True)
