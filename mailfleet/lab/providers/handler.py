"""What a provider does at each SMTP command: aiosmtpd's hooks for one session."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from aiosmtpd.smtp import SMTP, Envelope, Session

from mailfleet.lab.providers.behaviour import Rule
from mailfleet.lab.providers.records import Verdicts
from mailfleet.lab.providers.replies import REPLIES, Stage
from mailfleet.lab.providers.resolver import DnsFailure
from mailfleet.lab.providers.transaction import Transaction, text

if TYPE_CHECKING:
    from mailfleet.lab.providers.server import Service

log = logging.getLogger(__name__)


class Handler:
    """Asks the behaviour rules at MAIL, RCPT and the end of DATA; judges; refuses or keeps."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._connected = time.time()
        self._transaction: Transaction | None = None

    async def handle_EHLO(  # aiosmtpd's signature
        self, server: SMTP, session: Session, envelope: Envelope, name: str, responses: list[str]
    ) -> list[str]:
        session.host_name = name
        # aiosmtpd would offer AUTH LOGIN PLAIN to the world.
        kept = [line for line in responses if line[4:].split()[0] not in {"AUTH", "HELP"}]
        return [*kept, "250-ENHANCEDSTATUSCODES", "250 PIPELINING"]

    async def handle_MAIL(  # aiosmtpd's signature
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        current = Transaction.begin(
            self._service.provider, session, address, options, self._connected
        )
        self._transaction = current
        rule = self._service.commands.decide("mail", current.address)
        if rule is not None:
            return self._refuse("mail", current, (), rule)
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return f"250 2.1.0 OK {current.id} - {current.provider.name}"

    async def handle_RCPT(  # aiosmtpd's signature
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        current, recipient = self._current(), text(address)
        try:
            ours = await self._service.receives(recipient)
        except DnsFailure:
            return self._refuse("rcpt", current, (recipient,), "dns")
        if not ours:
            return self._refuse("rcpt", current, (recipient,), "relay")
        rule = self._service.commands.decide("rcpt", current.address, (recipient,))
        if rule is not None:
            return self._refuse("rcpt", current, (recipient,), rule)
        envelope.rcpt_tos.append(address)
        return f"250 2.1.5 OK {current.id} - {current.provider.name}"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        service, current = self._service, self._current()
        current.receive(envelope)
        verdicts = current.verdicts = await service.evaluate(current)
        if service.commands.current.authentication == "required":
            purpose = _unacceptable(verdicts)
            if purpose is not None:
                return self._refuse("data", current, current.recipients, purpose)
        rule = service.commands.decide("data", current.address, current.recipients)
        if rule is not None and rule.refuses:
            return self._refuse("data", current, current.recipients, rule)
        if rule is not None and rule.action == "slow":
            await asyncio.sleep(rule.delay)
        # No await from here to the reply: a peer that hangs up cannot come in between.
        message = current.message(service.store.reserve(), verdicts, rule.id if rule else None)
        service.keep(message, current.content)
        if rule is not None and rule.action == "complain":
            service.complain(message, current.content, rule.feedback)
        return f"250 2.0.0 OK {message.id} {current.id} - {current.provider.name}"

    async def handle_exception(self, error: Exception) -> str:
        log.error("a session failed", exc_info=error)
        return "451 4.3.0 The simulator failed; its log says why"

    def _current(self) -> Transaction:
        if self._transaction is None:
            raise RuntimeError("aiosmtpd let RCPT or DATA through without MAIL")
        return self._transaction

    def _refuse(
        self, stage: Stage, current: Transaction, recipients: tuple[str, ...], because: Rule | str
    ) -> str:
        """Note the refusal and give the reply: a rule's, or the provider's for a purpose."""
        if isinstance(because, Rule):
            reply, name = self._service.commands.reply_of(because), because.id
        else:
            reply, name = REPLIES[f"{current.provider.name}-{because}"], because
        self._service.store.attempt(current.attempt(stage, reply, recipients, name))
        return reply.render(current.subject(recipients, name))


def _unacceptable(verdicts: Verdicts) -> str | None:
    """Why a provider that requires authentication would not take it (the rules of 2024)."""
    authenticated = verdicts.spf.result == "pass" or verdicts.dkim_result == "pass"
    reasons = {
        "from": verdicts.dmarc.result == "permerror",
        "dns": verdicts.temporary,
        "ptr": verdicts.peer.reverse != "pass",
        "unauthenticated": not authenticated,
        "dmarc": verdicts.dmarc.disposition == "reject",
    }
    return next((reason for reason, holds in reasons.items() if holds), None)
