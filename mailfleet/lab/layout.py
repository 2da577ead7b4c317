"""Where a lab keeps its things, and the names that follow from that directory.

Several labs may run side by side: each has a state directory, and its namespace, its process
marker and its cgroups carry a digest of that directory's path.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from mailfleet.lab.errors import LabError

DEFAULT_DIRECTORY = "/var/lib/mailfleet/lab"
DEFAULT_CACHE = "/var/cache/mailfleet"


@dataclass(frozen=True)
class Layout:
    """The paths and names of one lab."""

    directory: Path
    cache: Path

    @property
    def id(self) -> str:
        """Eight hexadecimal digits that tell this lab from every other on the machine."""
        return sha256(str(self.directory).encode()).hexdigest()[:8]

    @property
    def namespace(self) -> str:
        """The name of the network namespace, as `ip netns` shows it."""
        return f"mailfleet-{self.id}"

    @property
    def namespace_file(self) -> Path:
        """What `nsenter --net=` and setns(2) take."""
        return Path("/run/netns") / self.namespace

    @property
    def state_file(self) -> Path:
        """The record of the running lab: its fleet and hosts."""
        return self.directory / "lab.json"

    @property
    def lock_file(self) -> Path:
        """Held by whoever changes the lab; also what marks the directory as a lab's."""
        return self.directory / ".mailfleet-lab"

    @property
    def logs(self) -> Path:
        return self.directory / "log"

    @property
    def home(self) -> Path:
        """HOME of the control machine."""
        return self.directory / "home"

    @property
    def secrets(self) -> Path:
        return self.directory / "secrets"

    @property
    def hosts(self) -> Path:
        return self.directory / "hosts"

    @property
    def knot(self) -> Path:
        return self.directory / "knot"

    @property
    def images(self) -> Path:
        return self.cache / "images"

    @property
    def packages(self) -> Path:
        return self.cache / "packages"


def layout(directory: Path | None = None, environment: Mapping[str, str] | None = None) -> Layout:
    """The lab in `directory`, else in MAILFLEET_LAB_DIR, else in the default place.

    Raises LabError when a path has characters that mount(8) gives a meaning to.
    """
    env = os.environ if environment is None else environment
    where = (directory or Path(env.get("MAILFLEET_LAB_DIR") or DEFAULT_DIRECTORY)).resolve()
    cache = Path(env.get("MAILFLEET_CACHE_DIR") or DEFAULT_CACHE).resolve()
    for name, path in (("MAILFLEET_LAB_DIR", where), ("MAILFLEET_CACHE_DIR", cache)):
        if re.search(r"[^\w./@+-]", str(path)):
            raise LabError(
                f"{name}: {str(path)!r} has characters other than letters, digits and ./_@+-,"
                " which overlay mounts cannot take.",
                f"Set {name} to a plain path.",
            )
    return Layout(directory=where, cache=cache)
