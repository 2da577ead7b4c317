"""What of a lab is up."""

from __future__ import annotations

from mailfleet.fleet.model import Model
from mailfleet.lab import hosts, network, processes, state
from mailfleet.lab.lab import Lab


class HostStatus(Model):
    """One host of the lab."""

    name: str
    role: str
    region: str
    debian: int
    addresses: tuple[str, ...]
    on: bool


class Status(Model):
    """The whole lab."""

    up: bool
    directory: str
    cache: str
    namespace: str
    fleet: str | None
    services: dict[str, bool]
    hosts: tuple[HostStatus, ...]

    def text(self) -> str:
        """For people."""
        if not self.up:
            return f"The lab in {self.directory} is down. `mailfleet lab up` brings it up."
        lines = [f"fleet      {self.fleet}", f"namespace  {self.namespace}"]
        lines.append(f"directory  {self.directory}")
        lines += [f"{name:<10} {'up' if on else 'DOWN'}" for name, on in self.services.items()]
        for host in self.hosts:
            power = "on" if host.on else "OFF"
            lines.append(
                f"{host.name}  {power:<3}  {host.role}, Debian {host.debian}, "
                + ", ".join(host.addresses)
            )
        return "\n".join(lines)


def status(lab: Lab) -> Status:
    """Look at the processes and the namespace, not at what somebody once wrote down."""
    place = lab.layout
    record = state.read(place)
    up = network.is_up(place) and record is not None
    running = {process.service for process in processes.processes(place)}
    services = {name: name in running for name in lab.services}
    members = record.hosts if record is not None and up else ()
    return Status(
        up=up,
        directory=str(place.directory),
        cache=str(place.cache),
        namespace=place.namespace,
        fleet=str(record.fleet_directory) if record is not None and up else None,
        services=services,
        hosts=tuple(
            HostStatus(
                name=host.name,
                role=host.role.value,
                region=host.region,
                debian=host.debian,
                addresses=tuple(map(str, host.addresses)),
                on=hosts.is_on(place, host),
            )
            for host in members
        ),
    )
