"""The fleet: everything that `fleet.yml` and the inventories say, as one frozen value.

Nothing here reads a file or the network; `mailfleet.fleet.load` builds a `Fleet` and reports
what is wrong with the files it came from.
"""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from mailfleet.fleet.types import (
    DmarcPolicy,
    DomainName,
    IPAddress,
    IPNetwork,
    MailAddress,
    Model,
    Percent,
    SecretRef,
)

__all__ = ["DomainName", "IPAddress", "IPNetwork", "MailAddress", "Model", "SecretRef"]


class Role(StrEnum):
    """What a host is for; the inventory group that lists the host decides it."""

    SENDER = "sender"
    MX = "mx"
    BACKUP_MX = "backup_mx"


class Host(Model):
    """One host: one sending address per IP family, and name = HELO = PTR."""

    name: DomainName = Field(description="Fully qualified; also its HELO name and its PTR.")
    role: Role = Field(description="From the group that lists it: senders, mx or backup_mx.")
    region: str = Field(description="From the name of the inventory file.")
    ipv4: IPv4Address = Field(description="Its public IPv4 address.")
    ipv6: IPv6Address | None = Field(default=None, description="Its public IPv6 address.")
    debian: Literal[12, 13] = Field(default=13, description="Its Debian release.")
    pool: str | None = Field(default=None, description="A sender's pool.")

    @property
    def addresses(self) -> tuple[IPAddress, ...]:
        """IPv4 first, then IPv6 where the host has one."""
        return (self.ipv4,) if self.ipv6 is None else (self.ipv4, self.ipv6)


class General(Model):
    """The `fleet:` section."""

    name: str = Field(min_length=1, description="A short name, shown in plans and reports.")
    zone: DomainName = Field(description="The fleet's own zone; every hostname lies in it.")
    contact: MailAddress = Field(
        description="Where mail for root and postmaster of the hosts goes."
    )
    management_networks: tuple[IPNetwork, ...] = Field(
        min_length=1,
        description="Networks that may reach SSH; everything else is refused by ufw.",
    )


class Acme(Model):
    """The `acme:` section: where certificates come from (RFC 8555, HTTP-01)."""

    directory: Annotated[str, Field(pattern=r"^https://\S+$", title="an https URL")] = Field(
        default="https://acme-v02.api.letsencrypt.org/directory",
        description="URL of the CA's ACME directory.",
    )
    contact: MailAddress | None = Field(
        default=None, description="Address of the ACME account; default: fleet.contact."
    )


class Rfc2136Account(Model):
    """A name server that takes signed updates (RFC 2136, TSIG of RFC 8945)."""

    provider: Literal["rfc2136"]
    server: IPAddress = Field(description="Address of the primary name server.")
    port: int = Field(default=53, ge=1, le=65535, description="Its TCP port.")
    key_name: DomainName = Field(description="Name of the TSIG key.")
    algorithm: Literal["hmac-sha256", "hmac-sha384", "hmac-sha512"] = Field(
        default="hmac-sha256", description="Algorithm of the TSIG key."
    )
    secret: SecretRef = Field(description="The TSIG key in base64, by reference.")


class ManualAccount(Model):
    """A provider without an API: the records to enter are printed, and verified afterwards."""

    provider: Literal["manual"]


# One model a provider, told apart by `provider`; a new provider is one more member.
DnsAccount = Annotated[Rfc2136Account | ManualAccount, Field(discriminator="provider")]


class Dns(Model):
    """The `dns:` section."""

    ttl: int = Field(
        default=3600, ge=60, le=86400, description="Time to live of our records, in seconds."
    )
    accounts: dict[str, DnsAccount] = Field(description="Accounts at DNS providers, by name.")
    zones: dict[DomainName, str] = Field(
        description="Zone (also reverse zones) to the name of the account that holds it."
    )


class Dmarc(Model):
    """DMARC policy of a domain (RFC 7489)."""

    policy: DmarcPolicy = Field(
        default="none", description="What receivers should do with mail that fails."
    )
    subdomain_policy: DmarcPolicy | None = Field(
        default=None, description="The same for subdomains; default: the policy."
    )
    rua: tuple[MailAddress, ...] = Field(
        default=(), description="Addresses for aggregate reports, without mailto:."
    )


class Spf(Model):
    """What a domain's SPF record says besides the fleet's own senders (RFC 7208)."""

    include: tuple[DomainName, ...] = Field(
        default=(), description="Third parties that send for the domain too."
    )
    all: Literal["-all", "~all", "?all"] = Field(
        default="~all", description="What the record says about everybody else."
    )


class DomainSettings(Model):
    """A domain as `domains:` has it: the name is its key."""

    pools: tuple[str, ...] = Field(default=(), description="Pools whose senders sign for it.")
    mx: tuple[DomainName, ...] | None = Field(
        default=None, description="Its mx hosts, first preferred; default: every mx host."
    )
    backup_mx: tuple[DomainName, ...] | None = Field(
        default=None, description="Its backup_mx hosts; default: every backup_mx host."
    )
    destination: Annotated[
        str,
        Field(
            pattern=r"^(maildir|smtp:(\[[0-9A-Za-z:.-]+\]|[0-9A-Za-z.-]+)(:[0-9]{1,5})?)$",
            title="maildir, or smtp:HOST[:PORT]",
        ),
    ] = Field(
        default="maildir",
        description="Where accepted mail goes: maildir (on the mx), or smtp:HOST[:PORT].",
    )
    spf: Spf = Field(default=Spf(), description="SPF besides the fleet's own senders.")
    dmarc: Dmarc = Field(default=Dmarc(), description="DMARC policy and reports.")


class Domain(DomainSettings):
    """A mail domain: mail is sent from it and received for it."""

    name: DomainName


class Pool(Model):
    """Senders that share a reputation."""

    schedule: str = Field(
        description="Name of a warm-up schedule: built in, or of warmup.schedules."
    )
    target: int = Field(ge=1, description="Mails a day and address once it is warm.")


class StageSpan(Model):
    """A run of days with one daily cap, as written in `warmup.schedules`."""

    cap: int = Field(ge=1, description="Recipients a day and sending address.")
    days: int = Field(default=1, ge=1, description="How many days it lasts.")


class Warmup(Model):
    """The `warmup:` section."""

    schedules: dict[str, Annotated[tuple[StageSpan, ...], Field(min_length=1)]] = Field(
        default={}, description="Schedules of your own, by name: a list of stages."
    )
    shares: dict[Literal["google", "microsoft", "yahoo", "apple"], Percent] = Field(
        default={"google": 40, "microsoft": 30, "yahoo": 10},
        description="Percent of the daily cap that may go to a mailbox provider.",
    )


class Spam(Model):
    """SpamAssassin at SMTP time, on every mx and backup_mx."""

    enabled: bool = Field(default=True, description="Whether it runs.")
    reject_score: float = Field(
        default=10.0, gt=0, le=1000, description="Score from which a message is refused."
    )


class Virus(Model):
    """ClamAV at SMTP time, on every mx and backup_mx."""

    enabled: bool = Field(default=True, description="Whether it runs.")
    database: Literal["official", "private"] = Field(
        default="official",
        description="private: only the signature files in clamav/ of the fleet directory.",
    )


class Filters(Model):
    """The `filters:` section."""

    spam: Spam = Field(default=Spam(), description="SpamAssassin.")
    virus: Virus = Field(default=Virus(), description="ClamAV.")


class FleetFile(Model):
    """What fleet.yml holds."""

    fleet: General = Field(description="Name, zone and contact of the fleet.")
    acme: Acme = Field(default=Acme(), description="Where certificates come from.")
    dns: Dns = Field(description="DNS accounts, and which zone is where.")
    pools: dict[str, Pool] = Field(default={}, description="Pools of senders, by name.")
    domains: dict[DomainName, DomainSettings] = Field(
        description="Mail domains, by name: mail is sent from them and received for them."
    )
    warmup: Warmup = Field(default=Warmup(), description="Warm-up of new sending addresses.")
    filters: Filters = Field(default=Filters(), description="Spam and virus filters.")


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
