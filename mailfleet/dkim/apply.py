"""Make a host's key on the host, and record its public half in the fleet directory."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

from pyinfra import context, logger
from pyinfra.api.command import FunctionCommand, StringCommand
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State

from mailfleet.dkim.observe import KEY_DIRECTORY, DkimKeys, key_path
from mailfleet.dkim.records import merged, read_record, record_path, write_record
from mailfleet.fleet.errors import FleetError
from mailfleet.hosts import changes

BITS = 2048


@operation()
def key(selector: str) -> Generator[StringCommand, None, None]:
    """Have a signing key; one that is there is never replaced.

    + selector: the name of the key to make when the host has none

    The key is made by openssl on the host, 0600 for opendkim from its first byte, and appears
    under its name complete or not at all.
    """
    keys = context.host.get_fact(DkimKeys)
    if keys is None:
        yield StringCommand("echo 'could not read the DKIM keys' >&2; exit 1")
        return
    if keys:
        return
    path = key_path(selector)
    staged = f"{KEY_DIRECTORY}/.{selector}.mailfleet-new"
    changes.announce("command", f"DKIM key {selector}", "run")
    yield StringCommand(
        f"set -e; umask 077; rm -f -- {staged}; "
        f"said=$(openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:{BITS} -out {staged} "
        '2>&1) || { echo "$said" >&2; exit 1; }; '
        f"chown opendkim:opendkim {staged}; sync {staged}; mv -nT {staged} {path}; test -s {path}"
    )


@operation()
def record(directory: str, hostname: str) -> Generator[FunctionCommand | StringCommand, None, None]:
    """Record the host's public keys in `<directory>/state/dkim/<hostname>.json`.

    + directory: the fleet directory, on the machine that runs pyinfra
    + hostname: whose keys they are
    """
    keys = context.host.get_fact(DkimKeys)
    if keys is None:
        yield StringCommand("echo 'could not read the DKIM keys' >&2; exit 1")
        return
    if keys and _is_recorded(Path(directory), hostname, keys):
        return
    changes.announce("command", f"record of the DKIM key of {hostname}", "run")
    yield FunctionCommand(_record, (directory, hostname, keys), {})


def _is_recorded(directory: Path, hostname: str, keys: dict[str, str]) -> bool:
    try:
        recorded = read_record(directory, hostname)
    except FleetError:
        return False
    return recorded == merged(recorded, keys)


def _record(state: State, host: Host, directory: str, hostname: str, keys: dict[str, str]) -> bool:
    """Write the record; False, with a word to the log, when that is not possible."""
    path = record_path(Path(directory), hostname)
    try:
        if not keys:
            raise ValueError(f"{hostname} has no DKIM key in {KEY_DIRECTORY}")
        recorded = read_record(Path(directory), hostname)
        write_record(Path(directory), hostname, merged(recorded, keys))
    except (FleetError, OSError, ValueError) as error:
        logger.error("%scould not record the DKIM key in %s: %s", host.print_prefix, path, error)
        return False
    return True
