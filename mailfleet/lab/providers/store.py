"""The messages and attempts a provider keeps, as files that appear whole or not at all.

    messages/000001.eml     what arrived, under the trace fields the provider put on top
    messages/000001.json    the verdicts; renamed into place last, so its presence is the message's
    attempts.jsonl          one line for each refused or deferred transaction
    complaints.jsonl        one line for each complaint, once it is delivered or given up

A killed process can leave a staged file or an .eml without its .json; the client never got a 250
for those, and the next start removes them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from mailfleet.lab.providers.records import Attempt, Complaint, Message, Value

MESSAGES, ATTEMPTS, COMPLAINTS = "messages", "attempts.jsonl", "complaints.jsonl"
V = TypeVar("V", bound=Value)


class Store:
    """Where one running provider writes. Only one process may have a directory open so."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._messages = directory / MESSAGES
        self._messages.mkdir(parents=True, exist_ok=True)
        self._last = max((int(path.stem) for path in _records(directory)), default=0)
        self._tidy()

    def reserve(self) -> str:
        """The id for the next message; one that is then not kept leaves a gap."""
        self._last += 1
        return f"{self._last:06d}"

    def add(self, message: Message, content: bytes) -> None:
        """Keep a message whose id was reserved. Raises OSError, then it is not kept."""
        self._place(f"{message.id}.eml", content)
        self._place(f"{message.id}.json", message.model_dump_json(indent=2).encode() + b"\n")

    def attempt(self, attempt: Attempt) -> None:
        """Note a refusal."""
        _append(self.directory / ATTEMPTS, attempt)

    def complaint(self, complaint: Complaint) -> None:
        """Note what became of a complaint."""
        _append(self.directory / COMPLAINTS, complaint)

    def _place(self, name: str, content: bytes) -> None:
        # No fsync: a killed process loses nothing of this, and a lab does not outlive its machine.
        staged = self._messages / f".{name}"
        staged.write_bytes(content)
        staged.replace(self._messages / name)

    def _tidy(self) -> None:
        complete = {path.stem for path in _records(self.directory)}
        for path in self._messages.iterdir():
            if path.name.startswith(".") or (path.suffix == ".eml" and path.stem not in complete):
                path.unlink()


def messages(directory: Path, last: int | None = None) -> list[Message]:
    """The messages a provider has accepted, oldest first; only the `last` so many if given."""
    paths = sorted(_records(directory), key=lambda path: int(path.stem))
    chosen = paths if last is None else paths[max(0, len(paths) - last) :]
    return [Message.model_validate_json(path.read_bytes()) for path in chosen]


def message(directory: Path, id: str) -> tuple[Message, bytes]:
    """One message and its .eml. Raises KeyError when there is none of that id."""
    path = directory / MESSAGES / f"{int(id):06d}.json" if id.isdigit() else None
    if path is None or not path.exists():
        raise KeyError(id)
    record = Message.model_validate_json(path.read_bytes())
    return record, path.with_suffix(".eml").read_bytes()


def find(directory: Path, message_id: str) -> Message | None:
    """The last message with that Message-ID, or None."""
    for path in sorted(_records(directory), key=lambda path: int(path.stem), reverse=True):
        content = path.read_bytes()
        # The id is looked for in the text first: most records need not be parsed.
        if json.dumps(message_id)[1:-1].encode() in content:
            record = Message.model_validate_json(content)
            if record.message_id == message_id:
                return record
    return None


def attempts(directory: Path) -> list[Attempt]:
    """The refused and deferred transactions, oldest first."""
    return list(_lines(directory / ATTEMPTS, Attempt))


def complaints(directory: Path) -> list[Complaint]:
    """The complaints that were delivered or given up, oldest first."""
    return list(_lines(directory / COMPLAINTS, Complaint))


def _records(directory: Path) -> list[Path]:
    return [p for p in (directory / MESSAGES).glob("*.json") if re.fullmatch(r"\d+", p.stem)]


def _append(path: Path, value: Value) -> None:
    # One write to a descriptor opened for appending: a line is there whole or, after a kill in the
    # middle of it, without its end; the newline in front keeps the next one readable.
    line = value.model_dump_json().encode() + b"\n"
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            line = b"\n" + line
        os.write(descriptor, line)
    finally:
        os.close(descriptor)


def _lines(path: Path, model: type[V]) -> Iterator[V]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return
    for line in content.splitlines():
        try:
            yield model.model_validate_json(line)
        except ValidationError:
            continue  # the torn end of a line whose writer was killed
