"""Inventories: which hosts a region has, in which role, with which data.

Groups and data follow pyinfra (`pyinfra_cli.inventory`): every list at module level is a group of
hosts unless its name starts with an underscore; data of a host wins over data of its groups, a
later group over an earlier one, and all of them over the group `all`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mailfleet.fleet.errors import Problem, Severity
from mailfleet.fleet.execute import Module, Origin, execute
from mailfleet.fleet.model import Role
from mailfleet.fleet.plaintext import secrets_in_clear
from mailfleet.fleet.validate import did_you_mean, words

GROUPS = {"senders": Role.SENDER, "mx": Role.MX, "backup_mx": Role.BACKUP_MX}
_PAIRS = 'a list of ("host.name", {data})'


@dataclass(frozen=True)
class Entry:
    """A host as one group of one inventory lists it, with its merged data."""

    name: str
    role: Role
    region: str
    data: Mapping[str, Any]
    origin: Origin
    fields: Mapping[str, Origin] = field(default_factory=dict)

    def where(self, name: str) -> Origin:
        """Where a field is written, else the host."""
        return self.fields.get(name, self.origin)


@dataclass
class _Group:
    hosts: list[tuple[str, dict[str, Any], Origin, Mapping[str, Origin]]]
    data: dict[str, tuple[Any, Origin]]


def read_inventories(directory: Path) -> tuple[tuple[Entry, ...], list[Problem]]:
    """Every host of every `inventories/*.py`, region by region in the order of their names.

    Files whose name starts with an underscore are helpers of the others, not regions.
    """
    folder = directory / "inventories"
    paths = sorted(path for path in folder.glob("*.py") if not path.name.startswith("_"))
    if not paths:
        return (), [
            Problem(
                Severity.ERROR,
                "inventories/",
                None,
                "inventories",
                "",
                "no inventory",
                "one Python file a region, such as inventories/eu_central.py",
                "mailfleet init DIR writes an example.",
            )
        ]
    group_data, problems = _read_group_data(directory)
    entries: list[Entry] = []
    for path in paths:
        module, more = execute(directory, path)
        problems += more
        if path.stem in {*GROUPS, "all"}:
            found = f"a region with the name of the group {path.stem}"
            problems.append(
                _error(Origin(f"inventories/{path.name}"), path.stem, "", found, "another name")
            )
        elif module is not None:
            entries += _Region(path.stem, module, group_data, problems).entries()
    return tuple(entries), problems


def _error(  # noqa: PLR0917
    origin: Origin, subject: str, name: str, found: str, accepted: str, hint: str = ""
) -> Problem:
    return Problem(Severity.ERROR, origin.file, origin.line, subject, name, found, accepted, hint)


def _read_group_data(
    directory: Path,
) -> tuple[dict[str, dict[str, tuple[Any, Origin]]], list[Problem]]:
    """Group to its data; `inventories/group_data` wins over `group_data`."""
    data: dict[str, dict[str, tuple[Any, Origin]]] = {}
    problems: list[Problem] = []
    for folder in (directory / "group_data", directory / "inventories" / "group_data"):
        for path in sorted(folder.glob("*.py")):
            module, more = execute(directory, path)
            problems += more
            if module is None:
                continue
            exported = {
                name: (module.names[name], Origin(module.file, module.lines.get(name)))
                for name in _exported(module)
            }
            problems += secrets_in_clear(module.file, exported)
            data.setdefault(path.stem, {}).update(exported)
    return data, problems


def _exported(module: Module) -> Iterator[str]:
    """The names of group data: `__all__` where there is one, else all but the imported ones."""
    chosen = module.names.get("__all__")
    if not isinstance(chosen, (list, tuple, set, frozenset)):
        chosen = [name for name in module.names if name not in module.imported]
    for name in chosen:
        if isinstance(name, str) and name in module.names and not name.startswith("__"):
            yield name


class _Region:
    """One inventory file, taken apart."""

    def __init__(
        self,
        region: str,
        module: Module,
        group_data: Mapping[str, Mapping[str, tuple[Any, Origin]]],
        problems: list[Problem],
    ) -> None:
        self.region, self.module, self.problems = region, module, problems
        self.group_data = group_data
        self.seen: Counter[str] = Counter()
        self.groups: dict[str, _Group] = {}
        for name, value in module.names.items():
            group = self.read_group(name, value)
            if group is not None:
                self.check_secrets(name, group)
                group.data.update(group_data.get(name, {}))
                self.groups[name] = group

    def entries(self) -> Iterator[Entry]:
        """The hosts of the groups that are roles."""
        count = 0
        for group, role in GROUPS.items():
            for name, _, origin, _ in self.groups.get(group, _Group([], {})).hosts:
                count += 1
                data, fields = self.data_of(name)
                yield Entry(name, role, self.region, data, origin, fields)
        self.check_strays()
        if not count:
            found = "no host in any of the groups senders, mx and backup_mx"
            origin = Origin(self.module.file)
            self.problems.append(_error(origin, self.region, "", found, "at least one host"))

    def data_of(self, name: str) -> tuple[dict[str, Any], dict[str, Origin]]:
        """The data of a host from everywhere, as pyinfra merges it."""
        merged: dict[str, tuple[Any, Origin]] = dict(self.group_data.get("all", {}))
        if "all" in self.groups:
            merged |= self.groups["all"].data
        groups = [group for key, group in self.groups.items() if key != "all"]
        for group in groups:
            if any(host == name for host, *_ in group.hosts):
                merged |= group.data
        if self.region not in self.groups:
            merged |= self.group_data.get(self.region, {})
        for group in (*groups, self.groups.get("all", _Group([], {}))):
            for host, data, origin, fields in group.hosts:
                if host == name:
                    merged |= {k: (v, fields.get(k, origin)) for k, v in data.items()}
        return {k: v for k, (v, _) in merged.items()}, {k: o for k, (_, o) in merged.items()}

    def read_group(self, name: str, value: Any) -> _Group | None:
        """A module-level name as a group, None where pyinfra does not take it for one."""
        origin = Origin(self.module.file, self.module.lines.get(name))
        known = name in GROUPS or name == "all"
        if name.startswith("_"):
            return None
        data: Any = {}
        if isinstance(value, tuple):
            value, data = (*value, {}, {})[:2]
        if not isinstance(value, list) or not isinstance(data, dict):
            if known:
                found = f"a {type(value).__name__}" if isinstance(data, dict) else "group data"
                self.problems.append(_error(origin, self.region, name, found, _PAIRS))
            return None
        group = _Group([], {str(k): (v, origin) for k, v in data.items()})
        for item in value:
            host = self.read_host(name, item, origin)
            if host is not None:
                group.hosts.append(host)
            elif not known:
                return None  # pyinfra ignores a list of anything else
        return group

    def read_host(
        self, group: str, item: Any, origin: Origin
    ) -> tuple[str, dict[str, Any], Origin, Mapping[str, Origin]] | None:
        """One item of a group: its name, data, and where they are."""
        pair = item if isinstance(item, tuple) else (item, {})
        if len(pair) == 1:
            pair = (*pair, {})
        name, data = pair if len(pair) == 2 else (None, None)
        if not isinstance(name, str) or not isinstance(data, dict):
            if group in GROUPS:
                found = f"an item that is a {type(item).__name__}"
                if isinstance(item, tuple):
                    found = f"({', '.join(type(part).__name__ for part in item)})"
                self.problems.append(
                    _error(origin, self.region, group, found, '("host.name", {data})')
                )
            return None
        keyed = {key: value for key, value in data.items() if isinstance(key, str)}
        sites = self.module.sites.get(name, ())
        if sites:
            site = sites[min(self.seen[name], len(sites) - 1)]
            self.seen[name] += 1
            fields = {k: Origin(self.module.file, line) for k, line in site.fields.items()}
            return name, keyed, Origin(self.module.file, site.line), fields
        return name, keyed, origin, {}

    def check_secrets(self, name: str, group: _Group) -> None:
        """Secrets in the data of a group and its hosts, once a place."""
        found = list(secrets_in_clear(f"{self.region} {name}", group.data))
        for host, data, origin, fields in group.hosts:
            placed = {key: (value, fields.get(key, origin)) for key, value in data.items()}
            found += secrets_in_clear(host, placed)
        self.problems += {(p.place, p.field): p for p in reversed(found)}.values()

    def check_strays(self) -> None:
        """Lists that pyinfra takes for groups of hosts, with names that are no host of ours."""
        ours = {
            name for group in GROUPS for name, *_ in self.groups.get(group, _Group([], {})).hosts
        }
        for group_name, group in self.groups.items():
            strangers = [name for name, *_ in group.hosts if name not in ours]
            if group_name in GROUPS or not strangers:
                continue
            # A mistyped group would take its hosts out of the fleet, and out of SPF.
            near = did_you_mean(group_name, GROUPS, 0.8)
            self.problems.append(
                Problem(
                    Severity.ERROR if near else Severity.WARNING,
                    self.module.file,
                    self.module.lines.get(group_name),
                    self.region,
                    group_name,
                    f"a group with hosts of no role: {words(strangers, 4)}",
                    "hosts in one of the groups senders, mx and backup_mx",
                    near or "A list that is not a group of hosts starts with an underscore.",
                )
            )
