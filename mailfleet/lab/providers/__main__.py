"""`python -m mailfleet.lab.providers NAME --directory DIR`: run one mailbox provider."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import time
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

import click

from mailfleet.lab.providers.behaviour import Commands
from mailfleet.lab.providers.catalogue import PROVIDERS, Provider
from mailfleet.lab.providers.certificate import server_context
from mailfleet.lab.providers.resolver import Resolver, split_endpoint
from mailfleet.lab.providers.server import Service
from mailfleet.lab.providers.store import Store

# Present, with the process id, exactly while the provider listens.
READY = "running.json"

log = logging.getLogger("mailfleet.lab.providers")


@click.command()
@click.argument("name", type=click.Choice(sorted(PROVIDERS)))
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Where messages, attempts and behaviour.json are.",
)
@click.option(
    "--listen",
    multiple=True,
    metavar="ADDRESS[@PORT]",
    help="Default: the provider's own addresses, port 25. May be repeated.",
)
@click.option(
    "--dns",
    multiple=True,
    metavar="ADDRESS[@PORT]",
    help="Name servers to ask; default: those of /etc/resolv.conf. May be repeated.",
)
def main(name: str, directory: Path, listen: tuple[str, ...], dns: tuple[str, ...]) -> None:
    """Receive, judge and keep mail as the mailbox provider NAME until told to stop by SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("mail.log").setLevel(logging.ERROR)  # aiosmtpd logs every command
    provider = PROVIDERS[name]
    try:
        endpoints = [split_endpoint(text, 25) for text in listen or provider.addresses]
        resolver = Resolver(dns)
    except ValueError as error:
        raise click.UsageError(f"{error}. Write ADDRESS or ADDRESS@PORT.") from error
    try:
        directory.mkdir(parents=True, exist_ok=True)
        asyncio.run(_serve(provider, directory, endpoints, resolver))
    except OSError as error:
        raise click.ClickException(
            f"{name} cannot run: {error}. Its addresses exist in the lab's network namespace only;"
            " elsewhere give --listen, and a --directory that can be written."
        ) from error


async def _serve(
    provider: Provider, directory: Path, endpoints: list[tuple[str, int]], resolver: Resolver
) -> None:
    sources = tuple(a for a, _ in endpoints if not ip_address(a).is_unspecified)
    service = Service(
        provider=provider,
        resolver=resolver,
        store=Store(directory),
        commands=Commands(directory, provider),
        sources=sources,
    )
    tls = server_context(directory, provider.mx)
    servers = [await service.listen(address, port, tls) for address, port in endpoints]
    bound = [s.getsockname()[:2] for server in servers for s in server.sockets]
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    ready = directory / READY
    staged = directory / f".{READY}"
    staged.write_text(json.dumps({"pid": os.getpid(), "started": time.time(), "listen": bound}))
    staged.replace(ready)
    log.info("%s listens on %s", provider.name, ", ".join(f"{a}@{p}" for a, p in bound))
    await stop.wait()
    with suppress(FileNotFoundError):
        ready.unlink()
    for server in servers:
        server.close()
    service.close()


if __name__ == "__main__":
    main()
