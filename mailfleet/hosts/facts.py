"""What we read from a host: one shell command each, needing nothing but Debian's essentials.

Every command begins its output with a word of its own, so that a read that failed (`None`) is
never mistaken for a host that has nothing.
"""

from __future__ import annotations

import re
import shlex
import stat
from collections.abc import Sequence
from dataclasses import dataclass

from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase

RUN = "/run/mailfleet"
_UNIT = re.compile(r"[A-Za-z0-9@._:-]+")


def quoted(words: Sequence[str]) -> str:
    """Words for a shell command line."""
    return " ".join(shlex.quote(word) for word in words)


@dataclass(frozen=True)
class FileState:
    """A file as it is on a host. `sha256` is None for what is not a readable regular file."""

    mode: int
    user: str
    group: str
    regular: bool
    sha256: str | None = None


class FileStates(FactBase[dict[str, FileState] | None]):
    """Digest, mode and owner of files in one command: path to state, for those that exist."""

    def command(self, paths: Sequence[str]) -> str:
        names = quoted(paths)
        return (
            "LC_ALL=C; export LC_ALL; echo mailfleet-files; "
            f"stat -c 'stat %f %U %G %n' -- {names} 2>/dev/null; "
            f"sha256sum -- {names} 2>/dev/null; true"
        )

    def process(self, output: list[str]) -> dict[str, FileState] | None:
        if output[0] != "mailfleet-files":
            return None
        raw, sums = {}, {}
        for line in output[1:]:
            if line.startswith("stat "):
                _, mode, user, group, path = line.split(" ", 4)
                raw[path] = (int(mode, 16), user, group)
            else:
                checksum, path = line.split(maxsplit=1)
                sums[path] = checksum
        return {
            path: FileState(
                mode=stat.S_IMODE(mode),
                user=user,
                group=group,
                regular=stat.S_ISREG(mode),
                sha256=sums.get(path) if stat.S_ISREG(mode) else None,
            )
            for path, (mode, user, group) in raw.items()
        }


class FileTexts(FactBase[dict[str, str] | None]):
    """The text of small files, for diffs: path to content, for those that can be read."""

    LIMIT = 65536  # bytes

    def command(self, paths: Sequence[str]) -> str:
        return (
            f"echo mailfleet-texts; for f in {quoted(paths)}; do "
            f'if [ -f "$f" ] && [ "$(wc -c <"$f")" -le {self.LIMIT} ]; then '
            'printf "%s " "$f"; base64 -w0 <"$f"; echo; fi; done; true'
        )

    def process(self, output: list[str]) -> dict[str, str] | None:
        if output[0] != "mailfleet-texts":
            return None
        from base64 import b64decode  # noqa: PLC0415

        texts = {}
        for line in output[1:]:
            path, _, encoded = line.partition(" ")
            texts[path] = b64decode(encoded).decode(errors="replace")
        return texts


@dataclass(frozen=True)
class ServiceState:
    """A systemd unit as it runs. Times are seconds since the epoch.

    `changed` is when each of the asked files last changed in any way (ctime, which nobody can
    set back); those that do not exist are missing.
    """

    load: str
    active: str
    enabled: str
    needs_daemon_reload: bool
    active_since: int | None
    stamp: str | None
    changed: dict[str, int]


class Service(FactBase[ServiceState | None]):
    """A unit's state, its stamp of the configuration it runs, and when that last changed."""

    def command(self, unit: str, paths: Sequence[str]) -> str:
        if not _UNIT.fullmatch(unit):
            raise ValueError(f"{unit!r} is not the name of a systemd unit")
        times = f"stat -c 'changed %Z %n' -- {quoted(paths)} 2>/dev/null; " if paths else ""
        return (
            "LC_ALL=C; export LC_ALL; echo mailfleet-service; "
            "systemctl show --timestamp=unix --property=LoadState --property=ActiveState "
            "--property=UnitFileState --property=NeedDaemonReload --property=FragmentPath "
            f"--property=ActiveEnterTimestamp -- {unit} || exit 1; "
            f"own=/etc/systemd/system/{unit}; "
            'if [ -f "$own" ] && [ ! -L "$own" ]; then echo "own $own"; fi; '
            f"{times}echo stamp $(cat {RUN}/{unit}.digest 2>/dev/null); true"
        )

    def process(self, output: list[str]) -> ServiceState | None:
        if output[0] != "mailfleet-service":
            return None
        shown = dict(line.split("=", 1) for line in output[1:] if "=" in line)
        times = [line.split(" ", 2)[1:] for line in output if line.startswith("changed ")]
        stamps = [line.split(maxsplit=1)[1:] for line in output if line.startswith("stamp")]
        since = shown.get("ActiveEnterTimestamp", "").removeprefix("@")
        # A new file that hides Debian's unit or init script is not among systemd's own reasons.
        hidden = any(
            line != f"own {shown.get('FragmentPath')}" for line in output if line.startswith("own ")
        )
        return ServiceState(
            load=shown.get("LoadState", ""),
            active=shown.get("ActiveState", ""),
            enabled=shown.get("UnitFileState", ""),
            needs_daemon_reload=shown.get("NeedDaemonReload") == "yes" or hidden,
            active_since=int(since) if since.isdigit() and since != "0" else None,
            stamp=stamps[-1][0].strip() if stamps and stamps[-1] else None,
            changed={path: int(seconds) for seconds, path in times},
        )


@dataclass(frozen=True)
class PackageStates:
    """Which of the asked packages are installed; `held_back`: a policy-rc.d of ours was left."""

    installed: frozenset[str]
    held_back: bool


class Packages(FactBase[PackageStates | None]):
    """Which packages are completely installed, and whether an interrupted run left its mark."""

    def command(self, names: Sequence[str], provided: Sequence[str] = ()) -> str:
        """`names` are packages, `provided` names that an installed package may provide."""
        wanted = " ".join(f"-e {shlex.quote(name)}" for name in provided)
        providers = (
            "dpkg-query -W -f '${db:Status-Abbrev} ${Provides}\\n' | sed -n 's/^[ih]i //p' | "
            f"tr ', ' '\\n\\n' | grep -xF {wanted} | sort -u | sed 's/^/ii /'; "
        )
        return (
            "LC_ALL=C; export LC_ALL; echo mailfleet-packages; "
            f"dpkg-query -W -f '${{db:Status-Abbrev}} ${{Package}}\\n' {quoted(names)} "
            f"2>/dev/null; {providers if provided else ''}"
            "grep -qs mailfleet /usr/sbin/policy-rc.d && echo held-back; true"
        )

    def process(self, output: list[str]) -> PackageStates | None:
        if output[0] != "mailfleet-packages":
            return None
        words = [line.split() for line in output[1:]]
        return PackageStates(
            installed=frozenset(w[1] for w in words if len(w) == 2 and w[0] in ("ii", "hi")),
            held_back=["held-back"] in words,
        )


class Succeeds(FactBase[bool | None]):
    """Whether a shell command exits with 0."""

    def command(self, test: str) -> StringCommand:
        # A subshell, so that an `exit` in the test ends only the test.
        return StringCommand(
            "echo mailfleet-test; if (", test, ") >/dev/null 2>&1; then echo yes; else echo no; fi"
        )

    def process(self, output: list[str]) -> bool | None:
        return output[-1] == "yes" if output[0] == "mailfleet-test" else None


class OsRelease(FactBase[tuple[str, str] | None]):
    """Distribution and release, such as ("debian", "12")."""

    def command(self) -> str:
        return '. /etc/os-release && echo "$ID" "$VERSION_ID"'

    def process(self, output: list[str]) -> tuple[str, str] | None:
        name, _, version = output[0].partition(" ")
        return name, version


class Units(FactBase[dict[str, list[str]] | None]):
    """The units that do not run as they should: `managed` ones of ours, and any that `failed`."""

    def command(self) -> str:
        return (
            f"echo mailfleet-units; for f in {RUN}/*.digest; do "
            '[ -e "$f" ] || continue; u=${f##*/}; u=${u%.digest}; '
            'systemctl is-active --quiet -- "$u" || echo "managed $u"; done; '
            "systemctl list-units --state=failed --plain --no-legend --no-pager "
            "| sed 's/^/failed /'"
        )

    def process(self, output: list[str]) -> dict[str, list[str]] | None:
        if output[0] != "mailfleet-units":
            return None
        words = [line.split() for line in output[1:]]
        managed = [w[1] for w in words if w[0] == "managed"]
        failed = [w[1] for w in words if w[0] == "failed" and w[1] not in managed]
        return {"managed": managed, "failed": failed}
