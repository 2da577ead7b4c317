"""DNS providers, imported only when an account uses them."""

from __future__ import annotations

from pathlib import Path

from mailfleet.dns.providers.base import Provider
from mailfleet.fleet import secrets
from mailfleet.fleet.model import DnsAccount, ManualAccount, Rfc2136Account


def connect(name: str, account: DnsAccount, directory: Path) -> Provider:
    """The provider of one account: `name` is its key in `dns.accounts`, `directory` the fleet's.

    Opens no connection.

    Raises SecretError when a secret cannot be had, ProviderError when it is of no use.
    """
    match account:
        case Rfc2136Account():
            from mailfleet.dns.providers.rfc2136 import Rfc2136  # noqa: PLC0415

            return Rfc2136(name, account, secrets.resolve(account.secret, directory))
        case ManualAccount():
            from mailfleet.dns.providers.manual import Manual  # noqa: PLC0415

            return Manual(name)
