"""Who the simulated mailbox providers are: names, addresses and the DNS that goes with them.

The names are the real ones, because routing by recipient domain and by MX suffix is part of what
the lab tests; the addresses are benchmarking addresses (RFC 2544) that exist only inside the lab.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Record(NamedTuple):
    """One DNS record: absolute owner name with its dot, type, and the value in zone file form."""

    name: str
    rdtype: str
    value: str


@dataclass(frozen=True)
class Provider:
    """One mailbox provider. `zones` are the zones its `records` lie in; sizes are in bytes."""

    name: str
    title: str
    domains: tuple[str, ...]
    zones: tuple[str, ...]
    mx: str
    ipv4: str
    ipv6: str
    networks: tuple[str, ...]
    size_limit: int
    complaints_from: str

    @property
    def domain(self) -> str:
        """The domain most of its users have."""
        return self.domains[0]

    @property
    def addresses(self) -> tuple[str, ...]:
        """What it listens on and sends from, IPv4 first."""
        return (self.ipv4, self.ipv6)

    @property
    def records(self) -> tuple[Record, ...]:
        """Its forward DNS: MX, addresses, SPF and DMARC. The reverse names are `pointers`."""
        spf = " ".join(f"ip{6 if ':' in network else 4}:{network}" for network in self.networks)
        found = [
            Record(f"{self.mx}.", "A", self.ipv4),
            Record(f"{self.mx}.", "AAAA", self.ipv6),
        ]
        for domain in self.domains:
            found += [
                Record(f"{domain}.", "MX", f"5 {self.mx}."),
                Record(f"{domain}.", "TXT", f'"v=spf1 {spf} -all"'),
                Record(f"_dmarc.{domain}.", "TXT", '"v=DMARC1; p=none; sp=quarantine"'),
            ]
        # The MX host itself is the HELO name and the sender of its bounces (RFC 7208, 2.3).
        found.append(Record(f"{self.mx}.", "TXT", f'"v=spf1 {spf} -all"'))
        return tuple(found)

    @property
    def pointers(self) -> dict[str, str]:
        """Address to the host name its PTR record says."""
        return dict.fromkeys(self.addresses, self.mx)


GOOGLE = Provider(
    name="google",
    title="Gmail",
    domains=("gmail.com", "googlemail.com"),
    zones=("gmail.com", "googlemail.com", "google.com"),
    mx="gmail-smtp-in.l.google.com",
    ipv4="198.18.1.25",
    ipv6="2001:db8:0:18:1::25",
    networks=("198.18.1.0/24", "2001:db8:0:18:1::/80"),
    size_limit=157_286_400,
    complaints_from="feedback@gmail.com",
)
MICROSOFT = Provider(
    name="microsoft",
    title="Outlook.com",
    domains=("outlook.com", "hotmail.com"),
    zones=("outlook.com", "hotmail.com"),
    mx="outlook-com.olc.protection.outlook.com",
    ipv4="198.18.2.25",
    ipv6="2001:db8:0:18:2::25",
    networks=("198.18.2.0/24", "2001:db8:0:18:2::/80"),
    size_limit=49_283_072,
    complaints_from="staff@hotmail.com",
)

PROVIDERS: dict[str, Provider] = {provider.name: provider for provider in (GOOGLE, MICROSOFT)}


def provider_of(domain: str) -> Provider | None:
    """The provider whose users have addresses in that domain, or None."""
    return next((p for p in PROVIDERS.values() if domain.lower() in p.domains), None)
