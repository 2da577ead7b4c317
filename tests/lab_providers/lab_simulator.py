"""What the tests of the providers share: a running provider, keys, messages."""

from __future__ import annotations

import asyncio
import smtplib
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dkim
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from mailfleet.lab.providers import behaviour, store
from mailfleet.lab.providers.behaviour import Behaviour, Commands, Rule
from mailfleet.lab.providers.catalogue import PROVIDERS
from mailfleet.lab.providers.certificate import server_context
from mailfleet.lab.providers.records import Attempt, Message
from mailfleet.lab.providers.resolver import Resolver
from mailfleet.lab.providers.server import Service
from mailfleet.lab.providers.store import Store

DOMAIN = "example.com"
HOST = "mta1.eu.example.net"
SELECTOR = "mta1-eu-202611"


@dataclass(frozen=True)
class Key:
    """An RSA key as dkimpy signs with it and as DNS publishes it."""

    private: bytes
    record: str

    @classmethod
    def make(cls, bits: int = 2048) -> Key:
        key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return cls(private, "v=DKIM1; k=rsa; p=" + "".join(public.decode().split("\n")[1:-2]))

    def sign(
        self, message: bytes, domain: str = DOMAIN, selector: str = SELECTOR, **options: Any
    ) -> bytes:
        signature = dkim.sign(
            message,
            selector.encode(),
            domain.encode(),
            self.private,
            canonicalize=(b"relaxed", b"relaxed"),
            **options,
        )
        return bytes(signature) + message


def compose(
    author: str = f"News <news@{DOMAIN}>",
    to: str = "bob@gmail.com",
    subject: str = "Hello",
    body: str = "Some text.\r\n",
    extra: str = "",
) -> bytes:
    return (
        f"From: {author}\r\nTo: {to}\r\nSubject: {subject}\r\n"
        f"Date: Sun, 22 Nov 2026 10:00:00 +0000\r\n"
        f"Message-ID: <{time.monotonic_ns()}@{DOMAIN}>\r\n{extra}\r\n{body}"
    ).encode()


@dataclass
class Simulator:
    """A provider that runs in a thread of this process."""

    name: str
    directory: Path
    resolver: Resolver
    port: int = 0
    delivery_port: int = 25
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        provider = PROVIDERS[self.name]
        service = Service(
            provider,
            self.resolver,
            Store(self.directory),
            Commands(self.directory, provider),
            sources=("127.0.0.1",),
            delivery_port=self.delivery_port,
        )
        self.service = service
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        tls = server_context(self.directory, provider.mx)
        self._server = self._run(service.listen("127.0.0.1", 0, tls))
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        async def close() -> None:
            self._server.close()
            self.service.close()
            for task in asyncio.all_tasks():
                if task is not asyncio.current_task():
                    task.cancel()

        self._run(close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        if self._thread is not None:
            self._thread.join()

    def tell(self, *rules: Rule, **fields: Any) -> None:
        behaviour.save(self.directory, Behaviour(rules=rules, **fields))

    def send(
        self,
        message: bytes,
        sender: str = f"news@{DOMAIN}",
        recipients: tuple[str, ...] = ("bob@gmail.com",),
        helo: str = HOST,
        tls: bool = True,
        options: tuple[str, ...] = (),
        source: str = "127.0.0.1",
    ) -> tuple[int, str]:
        """The last reply; a refused recipient ends it only when none is left."""
        with smtplib.SMTP(
            "127.0.0.1", self.port, local_hostname=helo, timeout=30, source_address=(source, 0)
        ) as smtp:
            smtp.ehlo()
            if tls:
                smtp._host = "localhost"  # type: ignore[attr-defined]
                smtp.starttls()
                smtp.ehlo()
            code, reply = smtp.mail(sender, options)
            if code != 250:
                return code, reply.decode()
            replies = [smtp.rcpt(recipient) for recipient in recipients]
            if all(code != 250 for code, _ in replies):
                return replies[-1][0], replies[-1][1].decode()
            try:
                code, reply = smtp.data(message)
            except smtplib.SMTPDataError as error:
                code, reply = error.smtp_code, bytes(error.smtp_error)
            return code, reply.decode()

    @property
    def messages(self) -> list[Message]:
        return store.messages(self.directory)

    @property
    def attempts(self) -> list[Attempt]:
        return store.attempts(self.directory)

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(20)


def until(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    """The first true value of a condition, or a failure after so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError("the condition did not come true")
