"""Inventories: the same groups and data as pyinfra sees, and how the files are executed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Collection
from itertools import combinations
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailfleet.fleet.inventory import read_inventories
from mailfleet.fleet.load import inspect

WriteFleet = Callable[..., Path]

NAMES = ("a.example.net", "b.example.net")
# Where a value may come from, in the files of one region `eu`.
SOURCES = ("host", "inline senders", "inline canary", "all list", "cwd all", "cwd senders")
FILES = ("all", "senders", "canary", "eu")


# pyinfra's own reader; importing it changes the whole process (gevent).
_PYINFRA = """
import json, os, sys
from pyinfra_cli.inventory import make_inventory_from_files
from pyinfra.api import State
from pyinfra.context import ctx_state
result = {}
with ctx_state.use(State()):
    for directory in sys.argv[1:]:
        os.chdir(directory)
        inventory = make_inventory_from_files(directory + "/inventories/eu.py", cwd=directory)
        result[directory] = {
            host.name: {
                **inventory.get_data(),
                **inventory.get_groups_data(host.groups),
                **inventory.get_host_data(host.name),
            }.get("pool")
            for host in inventory.hosts.values()
        }
print(json.dumps(result))
"""


def write_sources(directory: Path, chosen: Collection[str]) -> None:
    """An inventory in which each chosen source gives the first host a pool named after it."""

    def data(source: str) -> str:
        return repr({"pool": source}) if source in chosen else "{}"

    (directory / "inventories" / "group_data").mkdir(parents=True)
    (directory / "group_data").mkdir()
    lines = [
        f'senders = ([("{NAMES[0]}", {data("host")}), ("{NAMES[1]}", {{}})], '
        f"{data('inline senders')})",
        f'canary = (["{NAMES[0]}"], {data("inline canary")})',
    ]
    if "all list" in chosen:
        lines.append(f'all = [("{NAMES[0]}", {{"pool": "all list"}}), "{NAMES[1]}"]')
    (directory / "inventories" / "eu.py").write_text("\n".join(lines))
    for source in chosen:
        kind, _, name = source.partition(" ")
        folder = {"group_data": "inventories/group_data", "cwd": "group_data"}.get(kind)
        if folder:
            (directory / folder / f"{name}.py").write_text(f"pool = {source!r}\n")


def test_data_has_the_precedence_of_pyinfra(tmp_path: Path) -> None:
    everything = (*SOURCES, *(f"group_data {name}" for name in FILES))
    # One source wins over another: pairs tell the order; all but one tell that it is one.
    sets = [chosen for n in (0, 1, 2) for chosen in combinations(everything, n)]
    sets += combinations(everything, len(everything) - 1)
    ours = {}
    for number, chosen in enumerate(sets):
        directory = tmp_path / str(number)
        write_sources(directory, chosen)
        entries, problems = read_inventories(directory)
        assert not problems
        ours[str(directory)] = {entry.name: entry.data.get("pool") for entry in entries}

    command = [sys.executable, "-c", _PYINFRA, *ours]
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert ours == json.loads(done.stdout)


def test_group_data_fills_in_and_is_named_in_errors(write_fleet: WriteFleet) -> None:
    directory = write_fleet(
        {
            "inventories/us.py": 'senders = ["mta1.us.example.net"]\n',
            "inventories/group_data/senders.py": 'x = 1\nipv4 = "198.51.100.7"\npool = "nws"\n',
        }
    )
    fleet, problems = inspect(directory, in_lab=True)
    assert fleet is None
    assert [(p.place, p.subject, p.field) for p in problems] == [
        ("inventories/group_data/senders.py:3", "mta1.us.example.net", "pool")
    ]


def test_imported_names_and_all_of_group_data(write_fleet: WriteFleet) -> None:
    directory = write_fleet(
        {
            "inventories/group_data/all.py": "from os import path as debian\nimport os as pool\n",
            "inventories/group_data/mx.py": '__all__ = ["x"]\nx = 1\ndebian = 99\n',
        }
    )
    fleet, problems = inspect(directory, in_lab=True)
    assert problems == ()
    assert fleet is not None


def test_an_inventory_may_call_functions_of_the_fleet_directory(
    write_fleet: WriteFleet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    directory = write_fleet(
        {
            "clouds_of_this_test.py": "def hosts(path):\n"
            "    return [(l, {'ipv4': '198.51.100.77', 'pool': 'news'}) for l in open(path)]\n",
            "hosts.txt": "mta7.us.example.net",
            "inventories/_ignored.py": "1 / 0\n",
            "inventories/us.py": "from clouds_of_this_test import hosts\n"
            "senders = hosts('hosts.txt')\n",
        }
    )
    monkeypatch.chdir("/")
    fleet, problems = inspect(directory, in_lab=True)
    assert problems == ()
    assert fleet is not None
    assert "mta7.us.example.net" in [host.name for host in fleet.hosts]
    assert Path.cwd() == Path("/")


def test_a_problem_of_a_computed_host_has_the_line_of_its_group(write_fleet: WriteFleet) -> None:
    code = (
        "\n\nsenders = [(f'mta{n}.us.example.net', {'ipv4': 'x', 'pool': 'news'}) for n in '1']\n"
    )
    _, problems = inspect(write_fleet({"inventories/us.py": code}), in_lab=True)
    assert [(p.place, p.field) for p in problems] == [("inventories/us.py:3", "ipv4")]


def test_what_an_inventory_prints_does_not_reach_standard_output(
    write_fleet: WriteFleet, capfd: pytest.CaptureFixture[str]
) -> None:
    code = "import os\nprint('asking the cloud')\nos.system('echo from a program')\n"
    directory = write_fleet()
    path = directory / "inventories/us.py"
    path.write_text(code + path.read_text())
    fleet, problems = inspect(directory, in_lab=True)
    assert fleet is not None
    assert [(p.severity, p.file) for p in problems] == [("warning", "inventories/us.py")]
    out, err = capfd.readouterr()
    assert out == ""
    assert "asking the cloud" in err
    assert "from a program" in err


def test_an_interrupt_is_not_a_problem(write_fleet: WriteFleet) -> None:
    with pytest.raises(KeyboardInterrupt):
        inspect(write_fleet({"inventories/us.py": "raise KeyboardInterrupt\n"}))


def test_standard_output_is_the_same_afterwards(write_fleet: WriteFleet) -> None:
    before = os.fstat(1)
    inspect(write_fleet(), in_lab=True)
    assert os.fstat(1) == before


def test_imported_lists_are_groups_in_an_inventory(write_fleet: WriteFleet) -> None:
    directory = write_fleet(
        {
            "hosts_of_this_test.py": "backup_mx = [('mx1.us.example.net', {'ipv4': '1.1.1.1'})]\n",
            "inventories/us.py": "from hosts_of_this_test import backup_mx\n",
        }
    )
    entries, problems = read_inventories(directory)
    assert not problems
    assert [e.name for e in entries if e.region == "us"] == ["mx1.us.example.net"]


strange = st.recursive(
    st.sampled_from([None, True, -1, 2**70, float("nan"), b"x", object(), {1}, 1j, "\ud800"])
    | st.text(max_size=5)
    | st.ip_addresses(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.integers() | st.text(), inner),
    max_leaves=4,
)
fields = st.sampled_from(["ipv4", "ipv6", "debian", "pool", "name", "role", "ssh_hostname", "x", 7])
items = st.tuples(st.text(max_size=9), st.dictionaries(fields, strange, max_size=4)) | strange


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    groups=st.dictionaries(
        st.sampled_from(["senders", "mx", "backup_mx", "all", "us", "other", "_x"]),
        st.lists(items, max_size=3) | strange | st.tuples(st.lists(items, max_size=2), strange),
    ),
    data=st.dictionaries(st.sampled_from(["ipv4", "pool", "debian", "__all__"]), strange),
)
def test_whatever_an_inventory_holds_it_gives_problems_only(
    groups: dict[str, object], data: dict[str, object], write_fleet: WriteFleet
) -> None:
    code = "import values_of_this_test\nglobals().update(values_of_this_test.{})\n"
    directory = write_fleet(
        {
            "inventories/us.py": code.format("groups"),
            "inventories/group_data/senders.py": code.format("data"),
        }
    )
    values = ModuleType("values_of_this_test")
    vars(values).update(groups=groups, data=data)
    sys.modules["values_of_this_test"] = values
    fleet, problems = inspect(directory, in_lab=True)
    assert (fleet is None) == any(problem.is_error for problem in problems)
    for problem in problems:
        assert str(problem).isprintable()
