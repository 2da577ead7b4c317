"""What a running lab remembers: which fleet it plays, and so which hosts it has."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from mailfleet.fleet.model import Fleet, Host, Model
from mailfleet.lab.errors import LabError
from mailfleet.lab.files import write
from mailfleet.lab.layout import Layout


class State(Model):
    """The record in lab.json."""

    fleet_directory: Path
    fleet_name: str
    hosts: tuple[Host, ...]
    zones: tuple[str, ...]

    def host(self, name: str) -> Host:
        """A host by its name, or by a beginning of it that no other shares. Raises LabError."""
        exact = [host for host in self.hosts if host.name == name]
        found = exact or [host for host in self.hosts if host.name.startswith(name)]
        if len(found) != 1:
            names = ", ".join(host.name for host in self.hosts)
            what = "matches several hosts" if found else "is not a host"
            raise LabError(f"{name!r} {what} of the lab.", f"Its hosts are: {names}.")
        return found[0]


def state_of(fleet: Fleet) -> State:
    """The record of a lab that plays `fleet`."""
    return State(
        fleet_directory=fleet.directory.resolve(),
        fleet_name=fleet.general.name,
        hosts=fleet.hosts,
        zones=tuple(fleet.dns.zones),
    )


def read(lab: Layout) -> State | None:
    """The record of the lab that is up (or was, when it crashed); None when there is none."""
    try:
        return State.model_validate_json(lab.state_file.read_bytes())
    except FileNotFoundError:
        return None
    except (ValidationError, OSError) as error:
        raise LabError(
            f"{lab.state_file} cannot be read: {error}", "Run `mailfleet lab down`, then `up`."
        ) from error


def save(lab: Layout, state: State) -> None:
    """Remember."""
    write(lab.state_file, state.model_dump_json(indent=2) + "\n")
