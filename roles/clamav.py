"""The role `clamav`: infected mail is refused at SMTP time, by clamd and clamav-milter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pyinfra import context, logger
from pyinfra.api.deploy import deploy
from pyinfra.api.facts import FactBase

from mailfleet.fleet.model import Fleet, Host
from mailfleet.hosts import operations
from mailfleet.hosts.facts import RUN
from mailfleet.hosts.files import File
from mailfleet.hosts.render import RenderError, render
from mailfleet.hosts.roles import Port
from mailfleet.roles.spamassassin import relays

PORT = 8894
# The milter as Postfix says it; over TCP, because its socket directory is not in the chroot.
MILTER = f"inet:127.0.0.1:{PORT}"

# Below the only directory that Debian's AppArmor profile lets clamd read signatures from.
PRIVATE = "/var/lib/clamav/mailfleet"
OFFICIAL = "/var/lib/clamav"
# Text signatures that clamd loads by their file name (docs.clamav.net, "File formats").
SUFFIXES = (".ndb", ".hdb", ".hsb", ".ldb", ".fp", ".sfp", ".ign2", ".yara", ".yar", ".cdb")
# The official database takes 1.5 GiB, and as much again while freshclam tests a new one.
MEMORY_MIB = 3 * 1024

_UNITS = "/etc/systemd/system"
_CLAMD = "/etc/clamav/clamd.conf"
_MILTER = "/etc/clamav/clamav-milter.conf"

_SERVICES = (
    "clamav-milter.service",
    "clamav-daemon.service",
    "clamav-daemon.socket",
    "clamav-freshclam.service",
)

# clamconf reads both files as their programs do, but always exits with 0.
_CHECK = f"""
mkdir "$work/etc"
cp "$(staged {_CLAMD})" "$work/etc/clamd.conf"
cp "$(staged {_MILTER})" "$work/etc/clamav-milter.conf"
clamconf --non-default --config-dir="$work/etc" 2>&1 | grep ERROR && exit 1
true
"""


def packages(host: Host) -> tuple[str, ...]:
    """The same on Debian 12 and 13. clamscan, in `clamav`, judges signatures before clamd does."""
    return ("clamav", "clamav-daemon", "clamav-freshclam", "clamav-milter")


def ports(fleet: Fleet, host: Host) -> tuple[Port, ...]:
    """Nothing: Postfix is on the same host."""
    return ()


def signatures(fleet: Fleet) -> tuple[File, ...]:
    """The fleet's own signature files, for `database: private`, else none.

    Raises RenderError when there are none although they are asked for.
    """
    if fleet.filters.virus.database != "private":
        return ()
    directory = fleet.directory / "clamav"
    paths = sorted(path for path in directory.glob("*") if path.suffix in SUFFIXES)
    if not paths:
        raise RenderError(
            f"{directory} has no signature file ({' '.join('*' + s for s in SUFFIXES)}), and "
            "fleet.yml says filters.virus.database: private. Put one there, or say official"
        )
    return tuple(_signature(path) for path in paths)


def _signature(path: Path) -> File:
    try:
        return File(f"{PRIVATE}/{path.name}", path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RenderError(f"{path} cannot be used as a signature file: {error}") from error


def settings(fleet: Fleet, host: Host) -> tuple[File, ...]:
    """clamd.conf, clamav-milter.conf, and what their units need."""
    private = fleet.filters.virus.database == "private"
    database = PRIVATE if private else OFFICIAL
    drop_in = {"private": private, "database": database}
    return (
        File(
            _CLAMD,
            render("etc/clamav/clamd.conf.j2", database=database, max_size="25M"),
        ),
        File(
            _MILTER,
            render(
                "etc/clamav/clamav-milter.conf.j2",
                port=PORT,
                ignored=relays(fleet, host),
                max_size="25M",
            ),
        ),
        *(
            File(f"{_UNITS}/{path}", render(f"etc/systemd/system/{path}.j2", **drop_in))
            for path in (
                "clamav-daemon.service.d/mailfleet.conf",
                "clamav-daemon.socket.d/mailfleet.conf",
                "clamav-milter.service",
            )
        ),
    )


def files(fleet: Fleet, host: Host) -> tuple[File, ...]:
    """Settings, units, and private signatures."""
    return (*settings(fleet, host), *signatures(fleet))


class Memory(FactBase[int | None]):
    """The host's memory in MiB."""

    def command(self) -> str:
        return "grep '^MemTotal:' /proc/meminfo"

    def process(self, output: list[str]) -> int | None:
        words = output[0].split()
        return int(words[1]) // 1024 if len(words) > 1 else None


def left_off(fleet: Fleet, host: Host, memory: int | None) -> str | None:
    """Why there is no ClamAV on a host that should have one, or None. `memory` in MiB.

    Postfix must not ask a milter that is left off, so its role asks this too.
    """
    if fleet.filters.virus.database == "private" or memory is None or memory >= MEMORY_MIB:
        return None
    return (
        f"ClamAV is left off on {host.name}: the official signatures need {MEMORY_MIB} MiB of "
        f"memory, the host has {memory} MiB. Mail is not scanned for viruses there. Give it more "
        "memory, or use filters.virus.database: private"
    )


def runs_on(fleet: Fleet, host: Host) -> bool:
    """Whether the host that pyinfra is working on gets ClamAV. Costs one command at most."""
    if fleet.filters.virus.database == "private":
        return True
    return left_off(fleet, host, context.host.get_fact(Memory)) is None


@deploy("clamav")
def clamav(fleet: Fleet, host: Host) -> None:
    """Signatures and settings, then the scanner, then the milter."""
    if not runs_on(fleet, host):
        reason = left_off(fleet, host, context.host.get_fact(Memory))
        context.host.log(str(reason), logger.warning)
        for unit in _SERVICES:
            operations.service(name=f"{unit} is off", unit=unit, enabled=False)
        return
    wanted, database = settings(fleet, host), signatures(fleet)
    clamd, milter, service_drop_in, socket_drop_in, milter_unit = wanted
    if database:
        operations.files(name="Signatures of our own", files=database, validate=_judge(database))
        operations.run(
            name="No other signatures",
            command=f"cd {PRIVATE}; {_list_others(database)} | xargs -r rm -f --",
            unless=f'cd {PRIVATE} && [ -z "$({_list_others(database)})" ]',
        )
    else:
        operations.run(
            name="Official signatures are there",
            command=_DOWNLOAD,
            unless=f"ls {OFFICIAL}/daily.c[lv]d && ls {OFFICIAL}/main.c[lv]d",
        )
    operations.files(name="Settings of ClamAV", files=wanted, validate=_CHECK)
    operations.service(
        name="Official signatures stay current",
        unit="clamav-freshclam.service",
        enabled=not database,
    )
    operations.service(
        name="clamd can be reached",
        unit="clamav-daemon.socket",
        restarts=(socket_drop_in,),
        reload=False,
    )
    operations.service(
        name="clamd runs them",
        unit="clamav-daemon.service",
        watches=database,
        restarts=(clamd, service_drop_in),
    )
    operations.service(
        name="Postfix can ask it",
        unit="clamav-milter.service",
        restarts=(milter, milter_unit),
        reload=False,
    )


def _judge(database: Sequence[File]) -> str:
    """Load the new signatures before clamd does: a bad one would keep it from starting."""
    lines = ['mkdir "$work/db"']
    lines += [f'cp "$(staged {f.path})" "$work/db/{Path(f.path).name}"' for f in database]
    lines += [
        'chmod -R a+rX "$work"',
        'clamscan --quiet --infected --database="$work/db" /etc/hostname || {',
        'status=$?; [ "$status" = 1 ] || exit "$status"; }',
    ]
    return "\n".join(lines)


def _list_others(database: Sequence[File]) -> str:
    kept = " ".join(f"! -name {Path(file.path).name}" for file in database)
    return f"find . -mindepth 1 -maxdepth 1 ! -name '.*' {kept}"


_DOWNLOAD = f"""
systemctl stop clamav-freshclam.service
mkdir -p -m 0700 {RUN}
freshclam --stdout >{RUN}/freshclam.log 2>&1 || {{
    tail -n 6 {RUN}/freshclam.log
    echo "The official signatures could not be fetched. Without them clamd does not start and mail"
    echo "would wait, so the deploy stops here. Use filters.virus.database: private for a host that"
    echo "cannot reach database.clamav.net, or switch filters.virus.enabled off."
    exit 1
}} >&2
"""
