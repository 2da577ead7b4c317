"""The fleet: everything that `fleet.yml` and the inventories say, as one frozen value.

Nothing here reads a file or the network; `mailfleet.fleet.load` builds a `Fleet` and reports
what is wrong with the files it came from.
"""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

# A domain or host name in lower case ASCII (A-labels, RFC 5890), without the trailing dot.
DomainName = Annotated[
    str,
    StringConstraints(
        max_length=253,
        pattern=r"^([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
    ),
]
# Where a secret is, never the secret itself.
SecretRef = Annotated[str, StringConstraints(pattern=r"^(env|file|command):.+$")]


class Model(BaseModel):
    """Frozen, and strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Role(StrEnum):
    """What a host is for; the inventory group that lists the host decides it."""

    SENDER = "sender"
    MX = "mx"
    BACKUP_MX = "backup_mx"


class Host(Model):
    """One host: one sending address per IP family, and name = HELO = PTR."""

    name: DomainName
    role: Role
    region: str
    ipv4: IPv4Address
    ipv6: IPv6Address | None = None
    debian: Literal[12, 13] = 13
    pool: str | None = None

    @property
    def addresses(self) -> tuple[IPAddress, ...]:
        """IPv4 first, then IPv6 where the host has one."""
        return (self.ipv4,) if self.ipv6 is None else (self.ipv4, self.ipv6)


class General(Model):
    """The `fleet:` section."""

    name: str = Field(description="A short name, shown in plans and reports.")
    zone: DomainName = Field(description="The fleet's own zone; every hostname lies in it.")
    contact: str = Field(description="Where mail for root and postmaster of the hosts goes.")
    management_networks: tuple[IPNetwork, ...] = Field(
        description="Networks that may reach SSH; everything else is refused by ufw."
    )


class Acme(Model):
    """The `acme:` section: where certificates come from (RFC 8555, HTTP-01)."""

    directory: str = "https://acme-v02.api.letsencrypt.org/directory"
    contact: str | None = Field(default=None, description="Account address; default: the contact.")


class Rfc2136Account(Model):
    """A name server that takes signed updates (RFC 2136, TSIG of RFC 8945)."""

    provider: Literal["rfc2136"]
    server: IPAddress
    port: int = Field(default=53, ge=1, le=65535)
    key_name: DomainName
    algorithm: Literal["hmac-sha256", "hmac-sha384", "hmac-sha512"] = "hmac-sha256"
    secret: SecretRef


class ManualAccount(Model):
    """A provider without an API: the records to enter are printed, and verified afterwards."""

    provider: Literal["manual"]


DnsAccount = Annotated[Rfc2136Account | ManualAccount, Field(discriminator="provider")]


class Dns(Model):
    """The `dns:` section."""

    ttl: int = Field(default=3600, ge=60, le=86400, description="Seconds.")
    accounts: dict[str, DnsAccount]
    zones: dict[DomainName, str] = Field(
        description="Zone (also reverse zones) to the name of the account that holds it."
    )


class Dmarc(Model):
    """DMARC policy of a domain (RFC 7489)."""

    policy: Literal["none", "quarantine", "reject"] = "none"
    subdomain_policy: Literal["none", "quarantine", "reject"] | None = None
    rua: tuple[str, ...] = Field(default=(), description="Addresses for aggregate reports.")


class Spf(Model):
    """What a domain's SPF record says besides the fleet's own senders (RFC 7208)."""

    include: tuple[DomainName, ...] = Field(
        default=(), description="Third parties that send for the domain too."
    )
    all: Literal["-all", "~all", "?all"] = "~all"


class Domain(Model):
    """A mail domain: mail is sent from it and received for it."""

    name: DomainName
    pools: tuple[str, ...] = Field(default=(), description="Pools whose senders sign for it.")
    mx: tuple[DomainName, ...] | None = Field(default=None, description="Default: every mx host.")
    backup_mx: tuple[DomainName, ...] | None = Field(
        default=None, description="Default: every backup_mx host."
    )
    destination: str = Field(
        default="maildir", description="maildir (on the mx), or smtp:HOST[:PORT]."
    )
    spf: Spf = Spf()
    dmarc: Dmarc = Dmarc()


class Pool(Model):
    """Senders that share a reputation."""

    schedule: str = Field(description="A schedule's name: built in, or of warmup.schedules.")
    target: int = Field(ge=1, description="Mails a day and address once it is warm.")


class StageSpan(Model):
    """A run of days with one daily cap, as written in `warmup.schedules`."""

    cap: int = Field(ge=1, description="Recipients a day and sending address.")
    days: int = Field(default=1, ge=1)


class Warmup(Model):
    """The `warmup:` section."""

    schedules: dict[str, tuple[StageSpan, ...]] = {}
    shares: dict[Literal["google", "microsoft", "yahoo", "apple"], int] = Field(
        default={"google": 40, "microsoft": 30, "yahoo": 10},
        description="Percent of the daily cap that may go to a mailbox provider.",
    )


class Spam(Model):
    """SpamAssassin at SMTP time, on every mx and backup_mx."""

    enabled: bool = True
    reject_score: float = Field(default=10.0, gt=0)


class Virus(Model):
    """ClamAV at SMTP time, on every mx and backup_mx."""

    enabled: bool = True
    database: Literal["official", "private"] = Field(
        default="official",
        description="private: only the signature files in clamav/ of the fleet directory.",
    )


class Filters(Model):
    """The `filters:` section."""

    spam: Spam = Spam()
    virus: Virus = Virus()


class Fleet(Model):
    """Everything that one `fleet.yml` and its `inventories/` describe."""

    directory: Path
    general: General
    acme: Acme
    dns: Dns
    pools: dict[str, Pool]
    domains: tuple[Domain, ...]
    warmup: Warmup
    filters: Filters
    hosts: tuple[Host, ...]
    recipients: dict[str, tuple[str, ...]] = Field(
        description="Domain to its valid recipient addresses, sorted."
    )

    def host(self, name: str) -> Host:
        """The host of that name. Raises KeyError."""
        for host in self.hosts:
            if host.name == name:
                return host
        raise KeyError(name)

    def domain(self, name: str) -> Domain:
        """The domain of that name. Raises KeyError."""
        for domain in self.domains:
            if domain.name == name:
                return domain
        raise KeyError(name)

    def with_role(self, role: Role) -> tuple[Host, ...]:
        """The hosts of one role, in inventory order."""
        return tuple(host for host in self.hosts if host.role is role)

    @property
    def regions(self) -> tuple[str, ...]:
        """The regions that have hosts, in inventory order."""
        return tuple(dict.fromkeys(host.region for host in self.hosts))

    def mx_of(self, domain: Domain) -> tuple[Host, ...]:
        """The mx hosts of a domain, in order of preference."""
        if domain.mx is None:
            return self.with_role(Role.MX)
        return tuple(self.host(name) for name in domain.mx)

    def backup_mx_of(self, domain: Domain) -> tuple[Host, ...]:
        """The backup_mx hosts of a domain, in order of preference."""
        if domain.backup_mx is None:
            return self.with_role(Role.BACKUP_MX)
        return tuple(self.host(name) for name in domain.backup_mx)

    def senders_of(self, domain: Domain) -> tuple[Host, ...]:
        """The senders that sign for a domain: those of its pools."""
        return tuple(h for h in self.with_role(Role.SENDER) if h.pool in domain.pools)

    def domains_of(self, sender: Host) -> tuple[Domain, ...]:
        """The domains a sender signs for."""
        return tuple(domain for domain in self.domains if sender.pool in domain.pools)
