"""Where Debian packages come from: what this machine's own apt uses, and nothing else."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mailfleet.lab.errors import LabError

CODENAMES = {12: "bookworm", 13: "trixie"}
# Names under which sources.list may ask for a release, besides its code name.
_ALIASES = {"oldoldstable", "oldstable", "stable", "testing"}
_SUFFIXES = ("", "-updates", "-security")
# Settings of this machine's apt without which its mirror may not be usable.
_COPIED = ("Acquire::Check-Valid-Until", "Acquire::Check-Date", "Acquire::Retries")


@dataclass(frozen=True)
class Archive:
    """One Debian archive: base URL, the suffix of its suites, and the components."""

    url: str
    suffix: str
    components: tuple[str, ...]


@dataclass(frozen=True)
class Mirrors:
    """The archives, and the apt settings that go with them."""

    archives: tuple[Archive, ...]
    options: tuple[tuple[str, str], ...] = ()
    proxy: str | None = None

    def sources(self, debian: int) -> str:
        """sources.list(5) of a lab host. Plain http: the lab's package proxy speaks TLS for it."""
        codename = CODENAMES[debian]
        return "".join(
            f"deb {_plain(archive.url)} {codename}{archive.suffix} {' '.join(archive.components)}\n"
            for archive in self.archives
        )

    def apt_conf(self, proxy: str) -> str:
        """apt.conf(5) of a lab host."""
        lines = [f'Acquire::http::Proxy "{proxy}";', 'Acquire::Languages "none";']
        lines += [f'{name} "{value}";' for name, value in self.options]
        return "\n".join(lines) + "\n"

    @property
    def upstreams(self) -> tuple[str, ...]:
        """The base URLs that the package proxy may fetch from."""
        return tuple(dict.fromkeys(archive.url for archive in self.archives))


def discover(environment: Mapping[str, str] | None = None) -> Mirrors:
    """Read this machine's apt configuration, or MAILFLEET_LAB_MIRROR where that is set.

    Raises LabError when it names no Debian archive over http or https.
    """
    env = os.environ if environment is None else environment
    override = env.get("MAILFLEET_LAB_MIRROR")
    options, proxy = _settings(_output(["apt-config", "dump"]))
    if override:
        archives: tuple[Archive, ...] = (Archive(override.rstrip("/"), "", ("main",)),)
    else:
        targets = _output(
            ["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE) $(COMPONENT)"]
        )
        archives = archives_from(targets.splitlines(), _codename())
    if not any(archive.suffix == "" for archive in archives):
        raise LabError(
            "This machine's apt configuration names no Debian archive over http or https"
            " (`apt-get indextargets` was asked).",
            "Add one to /etc/apt/sources.list.d/, or set MAILFLEET_LAB_MIRROR to a mirror's URL.",
        )
    return Mirrors(archives, options, proxy)


def archives_from(lines: Iterable[str], codename: str | None) -> tuple[Archive, ...]:
    """The Debian archives among `SITE RELEASE COMPONENT` lines of `apt-get indextargets`.

    An archive is known by its suite: the code name of this machine's release or of one the lab
    knows, or stable and the like; so third parties' repositories do not count.
    """
    names = {*CODENAMES.values(), *_ALIASES, *({codename} if codename else ())}
    found: dict[tuple[str, str], list[str]] = {}
    for line in lines:
        parts = line.split()
        if len(parts) != 3 or not parts[0].startswith(("http://", "https://")):
            continue
        url, suite, component = parts
        for suffix in _SUFFIXES:
            if suite in {name + suffix for name in names}:
                components = found.setdefault((url.rstrip("/"), suffix), [])
                if component not in components:
                    components.append(component)
    unique: dict[str, Archive] = {}
    for (url, suffix), components in found.items():
        # The first mirror of each kind is enough, as it is for apt.
        unique.setdefault(suffix, Archive(url, suffix, tuple(components)))
    return tuple(unique.values())


def _settings(dump: str) -> tuple[tuple[tuple[str, str], ...], str | None]:
    values = {}
    for line in dump.splitlines():
        name, _, value = line.partition(" ")
        values[name] = value.strip().removesuffix(";").strip('"')
    options = tuple((name, values[name]) for name in _COPIED if name in values)
    return options, values.get("Acquire::http::Proxy") or None


def _plain(url: str) -> str:
    return "http://" + url.partition("://")[2]


def _codename() -> str | None:
    try:
        text = Path("/etc/os-release").read_text()
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith("VERSION_CODENAME="):
            return line.partition("=")[2].strip('"')
    return None


def _output(argv: list[str]) -> str:
    try:
        result = subprocess.run(argv, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise LabError(
            f"{argv[0]} is not installed.", "The lab runs on Debian and its relatives."
        ) from error
    if result.returncode:
        raise LabError(
            f"`{' '.join(argv)}` failed: {result.stderr.strip()}", "Mend this machine's apt first."
        )
    return result.stdout
