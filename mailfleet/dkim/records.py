"""The public keys of the fleet, as the last deploy recorded them in the fleet directory.

DNS is planned from these records, without touching a host. One file a sender:
`state/dkim/<hostname>.json`. They hold nothing secret and belong into version control.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, field_validator

from mailfleet.dkim.selector import newest
from mailfleet.dkim.txt import key_size
from mailfleet.fleet.errors import FleetError, Problem, Severity
from mailfleet.fleet.model import DomainName, Fleet, Model, Role

DIRECTORY = Path("state/dkim")

KeyState = Literal["pending", "published", "active", "retiring", "revoked"]


class DkimKey(Model):
    """One signing key of a host. `public_key` is base64 DER, what `p=` has in DNS."""

    selector: str = Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
    public_key: str
    state: KeyState = "active"

    @field_validator("public_key")
    @classmethod
    def _is_usable(cls, value: str) -> str:
        key_size(value)
        return value


class HostKeys(Model):
    """One record file."""

    host: DomainName
    keys: tuple[DkimKey, ...]


def record_path(directory: Path, hostname: str) -> Path:
    """Where the keys of a host are recorded; `directory` is the fleet directory."""
    return directory / DIRECTORY / f"{hostname}.json"


def load_keys(fleet: Fleet) -> dict[str, tuple[DkimKey, ...]]:
    """Hostname to its recorded keys, for the senders that have been deployed.

    Raises FleetError with every damaged file.
    """
    found = {}
    problems: list[Problem] = []
    for host in fleet.with_role(Role.SENDER):
        try:
            keys = read_record(fleet.directory, host.name)
        except FleetError as error:
            problems += error.problems
            continue
        if keys:
            found[host.name] = keys
    if problems:
        raise FleetError(problems)
    return found


def read_record(directory: Path, hostname: str) -> tuple[DkimKey, ...]:
    """The recorded keys of one host, none if it has no record. Raises FleetError."""
    path = record_path(directory, hostname)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        raise FleetError([_damaged(directory, path, hostname, "", str(error))]) from error
    try:
        record = HostKeys.model_validate_json(text)
    except ValidationError as error:
        raise FleetError(
            _damaged(
                directory,
                path,
                hostname,
                ".".join(str(part) for part in each["loc"]),
                each["msg"].removeprefix("Value error, "),
            )
            for each in error.errors()
        ) from error
    if record.host != hostname:
        problem = _damaged(directory, path, hostname, "host", f"it is of {record.host}")
        raise FleetError([problem])
    return record.keys


def _damaged(directory: Path, path: Path, hostname: str, field: str, found: str) -> Problem:
    return Problem(
        severity=Severity.ERROR,
        file=str(path.relative_to(directory)),
        line=None,
        subject=hostname,
        field=field,
        found=found,
        accepted="the record of public DKIM keys that a deploy writes",
        hint=f"Remove the file and run `mailfleet deploy --limit {hostname}` to write it anew.",
    )


def merged(recorded: tuple[DkimKey, ...], on_host: dict[str, str]) -> tuple[DkimKey, ...]:
    """The record after a look at the host: selector to public key of what it has.

    The newest key is what the host signs with. A key that is not on the host any more stays
    recorded: old mail may still need it, and only the key life cycle may end it.
    """
    signing = newest(set(on_host))
    keys = {key.selector: key for key in recorded}
    for selector, public_key in on_host.items():
        before = keys.get(selector)
        if selector == signing:
            state: KeyState = "active"
        elif before is None or before.state == "active":
            state = "retiring"
        else:
            state = before.state
        keys[selector] = DkimKey(selector=selector, public_key=public_key, state=state)
    return tuple(keys[selector] for selector in sorted(keys))


def write_record(directory: Path, hostname: str, keys: tuple[DkimKey, ...]) -> None:
    """Write a record so that a reader sees the old one or the new one. Raises OSError."""
    path = record_path(directory, hostname)
    path.parent.mkdir(parents=True, exist_ok=True)
    record = HostKeys(host=hostname, keys=keys)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(json.dumps(record.model_dump(mode="json"), indent=2) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
