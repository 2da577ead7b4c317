"""What deploy/site.py says: the host at hand, its packages and its roles."""

from __future__ import annotations

from dataclasses import dataclass

from pyinfra import context
from pyinfra.api.exceptions import PyinfraError

from mailfleet.fleet.errors import FleetError
from mailfleet.fleet.load import fleet_directory, load
from mailfleet.fleet.model import Fleet, Host
from mailfleet.hosts import operations, pace, roles
from mailfleet.hosts.facts import OsRelease
from mailfleet.hosts.files import DEPLOYED, File
from mailfleet.hosts.render import RenderError

pace.quicken()


class SiteError(PyinfraError):
    """The deploy cannot begin; pyinfra shows the message on one line."""


def fleet_name(name: str) -> str:
    """The name a host has in the fleet: `@docker/mx1.example.net` is `mx1.example.net`."""
    return name.rpartition("/")[2] if name.startswith("@") else name


def this_host() -> Site:
    """The host that pyinfra is working on, as the fleet files describe it.

    Raises SiteError when the fleet files are not right, when they do not know the host, or when
    the host does not run the Debian release that they say.
    """
    name, directory = fleet_name(context.host.name), fleet_directory()
    try:
        fleet = load(directory)
    except FleetError as error:
        raise SiteError(f"The fleet in {directory} is not right. {error}") from error
    try:
        host = fleet.host(name)
    except KeyError as error:
        raise SiteError(
            f"{name} is not a host of the fleet in {directory}: list it in one of its inventories "
            "(groups senders, mx, backup_mx), or run in the right fleet directory"
        ) from error
    found = context.host.get_fact(OsRelease)
    # A read that failed has failed the host already; the others go on.
    if found is not None and found != ("debian", str(host.debian)):
        raise SiteError(
            f"{name} runs {' '.join(found)}, its inventory says debian {host.debian}: correct "
            "`debian` there, or reinstall the host"
        )
    return Site(fleet, host, readable=found is not None)


@dataclass(frozen=True)
class Site:
    """A host and its fleet, while pyinfra prepares the host."""

    fleet: Fleet
    host: Host
    readable: bool = True

    def install_packages(self) -> None:
        """The packages of all roles, in one go."""
        if not self.readable:
            return
        operations.packages(
            name="Packages",
            names=roles.packages_of(self.fleet, self.host),
            debconf=roles.debconf_of(self.fleet, self.host),
        )

    def apply(self, role: str) -> None:
        """One role, on the hosts that have it."""
        if not self.readable or role not in roles.names_of(self.fleet, self.host):
            return
        try:
            getattr(roles.role(role), role)(self.fleet, self.host)
        except (RenderError, FleetError, ValueError) as error:
            raise SiteError(f"{self.host.name}, role {role}: {error}") from error

    def note_deployed(self) -> None:
        """Leave word on the host that everything above went through."""
        if not self.readable:
            return
        operations.files(name="Deployed", files=(File(DEPLOYED, f"{self.host.name}\n"),))
