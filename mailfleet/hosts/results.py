"""What became of each host in a run of pyinfra, read from its JSON and its log.

The JSON decides which operations changed something and which failed (never pyinfra's exit code,
which is 0 in too many cases). The log, standard error, says who was connected and what a failing
command printed; it is also all there is when the last host has failed, because pyinfra 3.10 then
stops without any JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from mailfleet.hosts.changes import Change
from mailfleet.hosts.remedies import remedy

Status = Literal["unchanged", "changed", "failed", "unreachable", "unfinished"]
_HOST_LINE = re.compile(r"\s*\[(?P<host>[^\]\s]+)\]\s*(?P<text>.*)")
_OUTPUT_LINES = 40


@dataclass(frozen=True)
class Event:
    """Something that happened while pyinfra ran; `host` is empty when an operation starts."""

    host: str
    operation: str
    what: Literal["started", "connected", "changed", "unchanged", "failed", "unreachable"]


@dataclass(frozen=True)
class HostResult:
    """One host after a run; in a dry run "changed" means that it would change.

    `operation`, `output` and `remedy` say what failed, the last lines it printed and what to do.
    `notes` is what operations wanted the operator to know.
    """

    name: str
    status: Status
    operation: str = ""
    output: tuple[str, ...] = ()
    remedy: str = ""
    changes: tuple[Change, ...] = ()
    operations: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return self.status in ("unchanged", "changed")


@dataclass(frozen=True)
class Result:
    """One run of pyinfra. `error` is what stopped it as a whole, empty when nothing did."""

    hosts: tuple[HostResult, ...]
    seconds: float
    error: str = ""

    @property
    def ok(self) -> bool:
        return not self.error and all(host.ok for host in self.hosts)

    @property
    def changed(self) -> bool:
        return any(host.status == "changed" for host in self.hosts)

    @property
    def exit_code(self) -> int:
        """0 fine, 3 when the only trouble is hosts that cannot be reached, else 1."""
        if self.ok:
            return 0
        bad = {host.status for host in self.hosts if not host.ok}
        return 3 if bad == {"unreachable"} else 1


@dataclass
class Log:
    """Follows pyinfra's log, line by line."""

    listener: Callable[[Event], None]
    connected: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    output: dict[str, list[str]] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)
    error: list[str] = field(default_factory=list)
    _stage: str = ""
    _operation: str = ""
    _in_error: bool = False

    def line(self, line: str) -> None:
        """Take in one line of standard error."""
        if line.startswith("--> "):
            self._header(line.removeprefix("--> ").strip())
        elif self._in_error:
            self.error.append(line.rstrip())
        elif match := _HOST_LINE.match(line):
            self._host_line(match["host"], match["text"].strip())

    def _header(self, header: str) -> None:
        self._in_error = False
        if self._stage.startswith("Connecting"):
            for host in self.output:
                if host not in self.connected:
                    self.listener(Event(host, "connect", "unreachable"))
        if header.startswith("Starting operation:"):
            self._stage = "operation"
            self._operation = header.removeprefix("Starting operation:").strip()
            self.listener(Event("", self._operation, "started"))
        elif "error" in header or "exception" in header:
            self._in_error = True
            self.error.append(header)
        else:
            self._stage, self._operation = header, ""
        for host in list(self.output):
            if host in self.connected and host not in self.failed:
                self._note(host)

    def _note(self, host: str) -> None:
        """What was said without a failure are notes; a failing command is shown by its output."""
        notes = self.notes.setdefault(host, [])
        notes += [line for line in self.output.pop(host, ()) if line not in notes]

    def _host_line(self, host: str, text: str) -> None:
        if host in self.failed:
            return
        if text.startswith("Connected") and self._stage.startswith("Connecting"):
            self.connected.add(host)
            self.listener(Event(host, "", "connected"))
        elif self._stage == "operation" and text in ("Success", "No changes"):
            what: Literal["changed", "unchanged"] = "changed" if text == "Success" else "unchanged"
            self._note(host)
            self.listener(Event(host, self._operation, what))
        elif text.startswith("Error: "):
            self.failed[host] = self._operation or "preparation"
            if self._stage != "operation":
                self.output.setdefault(host, []).append(text.removeprefix("Error: "))
            self.listener(Event(host, self.failed[host], "failed"))
        elif text != "Skipped" and not text.startswith("Ready:"):
            lines = self.output.setdefault(host, [])
            lines.append(text)
            del lines[:-_OUTPUT_LINES]


def conclude(
    expected: Iterable[str],
    text: str,
    log: Log,
    changes: Iterable[Change],
    *,
    dry: bool,
    seconds: float,
) -> Result:
    """The result of a run, from its standard output, its log and the announced changes."""
    report = _parse(text)
    by_host: dict[str, list[Change]] = {}
    for change in changes:
        by_host.setdefault(change.host, []).append(change)
    hosts = tuple(_host(name, report, log, tuple(by_host.get(name, ())), dry) for name in expected)
    error = ""
    if report is None and not any(h.status in ("failed", "unreachable") for h in hosts):
        error = "\n".join(log.error).strip() or "pyinfra stopped without a result"
    return Result(hosts, seconds, error)


def _parse(text: str) -> dict[str, Any] | None:
    try:
        report = json.loads(text)
    except ValueError:
        return None
    return report if isinstance(report, dict) and "plan" in report else None


def _host(
    name: str, report: dict[str, Any] | None, log: Log, changes: tuple[Change, ...], dry: bool
) -> HostResult:
    output = tuple(line for line in log.output.get(name, ()) if line)
    if name not in log.connected:
        if report is None and not output:
            return HostResult(name, "unfinished")
        return HostResult(name, "unreachable", "connect", output, remedy(output, name))
    results = (report or {}).get("results") or {}
    operations = results.get("operations", ())
    failed = log.failed.get(name) or next((o["name"] for o in operations if name in o["error"]), "")
    if failed or name in results.get("failed_hosts", ()):
        failed = failed or "preparation"
        return HostResult(name, "failed", failed, output, remedy(output, name), changes)
    if report is None or not (results or dry):
        return HostResult(name, "unfinished", changes=changes)
    if dry:
        keys = ("hosts_with_change", "hosts_with_conditional_change")
        done = [o["name"] for o in report["plan"] if any(name in o[key] for key in keys)]
    else:
        done = [o["name"] for o in operations if name in o["success"]]
    status: Status = "changed" if done else "unchanged"
    notes = tuple(log.notes.get(name, ()))
    return HostResult(name, status, changes=changes, operations=tuple(done), notes=notes)
