"""Loading whole fleet directories: what a good one gives, and what cannot be read at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from mailfleet.fleet.errors import FleetError
from mailfleet.fleet.load import inspect, load
from mailfleet.fleet.model import Role

WriteFleet = Callable[..., Path]
ROOT = Path(__file__).parents[2]


def told(directory: Path) -> list[str]:
    return [str(problem) for problem in inspect(directory, in_lab=True)[1]]


def test_a_good_fleet_has_everything_and_no_problem(write_fleet: WriteFleet) -> None:
    fleet, problems = inspect(write_fleet(), in_lab=True)
    assert problems == ()
    assert fleet is not None
    assert [(h.name, h.role, h.region, h.debian) for h in fleet.hosts] == [
        ("mta1.eu.example.net", Role.SENDER, "eu", 13),
        ("mx1.eu.example.net", Role.MX, "eu", 12),
        ("mta1.us.example.net", Role.SENDER, "us", 13),
        ("mx1.us.example.net", Role.BACKUP_MX, "us", 13),
    ]
    assert fleet.host("mx1.eu.example.net").ipv4 == IPv4Address("198.51.100.25")
    assert fleet.recipients["example.com"] == (
        "abuse@example.com",
        "alice@example.com",
        "dmarc@example.com",
        "postmaster@example.com",
    )
    assert fleet.domain("example.com").dmarc.rua == ("dmarc@example.com",)
    assert fleet.warmup.shares == {"google": 40, "microsoft": 30}
    assert fleet.directory.is_absolute()


def test_documentation_addresses_warn_outside_the_lab_only(
    write_fleet: WriteFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = write_fleet()
    monkeypatch.delenv("MAILFLEET_LAB", raising=False)
    fleet, problems = inspect(directory)
    assert fleet is not None
    assert [p.subject for p in problems] == [h.name for h in fleet.hosts]
    assert not any(p.is_error for p in problems)
    monkeypatch.setenv("MAILFLEET_LAB", "1")
    monkeypatch.setattr("mailfleet.fleet.addresses.is_ours", lambda address: True)
    assert inspect(directory)[1] == ()


def test_the_example_fleet_is_right() -> None:
    fleet, problems = inspect(ROOT, in_lab=True)
    assert fleet is not None
    assert problems == ()
    assert fleet.regions == ("eu_central", "us_east")


def test_load_raises_all_errors_and_no_warnings(write_fleet: WriteFleet) -> None:
    directory = write_fleet(
        {"recipients/example.com": "a b\n", "recipients/example.org": "x\n", "inventories/x.py": ""}
    )
    with pytest.raises(FleetError) as caught:
        load(directory)
    places = [problem.place for problem in caught.value.problems]
    assert places == ["inventories/x.py", "recipients/example.com:1", "recipients/example.org"]


@pytest.mark.parametrize(
    ("name", "content", "line", "says"),
    [
        ("fleet.yml", b"fleet:\n  name: caf\xe9\n", 2, "the byte 0xe9, which is not UTF-8"),
        ("fleet.yml", b"\xff\xfef\x00l\x00", 1, "not UTF-8"),
        ("fleet.yml", b"", 1, "an empty file"),
        ("fleet.yml", b"# nothing yet\n", 1, "an empty file"),
        ("fleet.yml", b"--- []\n", 1, "no sections"),
        ("fleet.yml", b"just text\n", 1, "no sections"),
        ("fleet.yml", b"a: 1\n---\nb: 2\n", 2, "found another document"),
        ("fleet.yml", b"fleet:\n  name: \x07\n", 2, "U+0007"),
        ("fleet.yml", b"a: " + b"[" * 200 + b"]" * 200, 1, "too deeply"),
        ("fleet.yml", b"a: " + b"[" * 1200, None, "too deeply"),
        ("fleet.yml", b"a: &a [*a]\n", 1, "too deeply"),
        (
            "fleet.yml",
            b"a: &a [x,x,x,x,x,x,x,x,x,x]\n"
            + b"".join(
                b"%c: &%c [%s]\n" % (c + 1, c + 1, b",".join([b"*%c" % c] * 10))
                for c in range(ord("a"), ord("i"))
            ),
            1,
            "repeated too often",
        ),
        ("inventories/eu.py", b"# caf\xe9\nsenders = []\n", 1, "not UTF-8"),
        ("inventories/eu.py", b"senders = []\n\x00\n", None, "it raises"),
        ("inventories/eu.py", b"", None, "no host in any of the groups"),
        ("inventories/eu.py", b"import nothing_like_this\n", 1, "ModuleNotFoundError"),
        ("inventories/eu.py", b"def f(): f()\nf()\n", 1, "RecursionError"),
        ("inventories/mx.py", b"senders = []\n", None, "the name of the group mx"),
        ("inventories/group_data/all.py", b"1 / 0\n", 1, "ZeroDivisionError"),
        ("recipients/example.com", b"ok\ncaf\xe9\n", 2, "not UTF-8"),
        ("recipients/example.com", "café\n".encode(), 1, "a local part"),
    ],
)
def test_files_that_cannot_be_read(
    write_fleet: WriteFleet, name: str, content: bytes, line: int | None, says: str
) -> None:
    fleet, problems = inspect(write_fleet({name: content}), in_lab=True)
    assert fleet is None
    assert any(p.file == name and p.line == line and says in str(p) for p in problems), problems


def test_no_fleet_file_names_init(tmp_path: Path) -> None:
    assert "mailfleet init DIR" in told(tmp_path)[0]
    assert "is not a directory" in told(tmp_path / "absent")[0]
    (tmp_path / "fleet.yaml").write_text("fleet: {}\n")
    assert "Rename fleet.yaml to fleet.yml" in told(tmp_path)[0]


def test_no_inventory_at_all(write_fleet: WriteFleet) -> None:
    problems = told(write_fleet({"inventories/eu.py": None, "inventories/us.py": None}))
    assert any("no inventory" in problem for problem in problems)


def test_links_and_odd_files(write_fleet: WriteFleet, tmp_path: Path) -> None:
    directory = write_fleet(
        {"inventories/eu.py": None, "recipients/.keep": "", "recipients/x~": ""}
    )
    (directory / "real.py").write_text((ROOT / "inventories/eu_central.py").read_text())
    (directory / "inventories/eu.py").symlink_to("../real.py")
    (directory / "inventories/gone.py").symlink_to("nowhere.py")
    (directory / "inventories/loop.py").symlink_to("loop.py")
    os.mkfifo(directory / "inventories/pipe.py")
    (directory / "inventories/folder.py").mkdir()
    problems = told(directory)
    for name in ("gone", "loop", "pipe", "folder"):
        assert any(p.startswith(f"inventories/{name}.py: error") for p in problems), problems
    assert not any("inventories/eu.py: error" in p for p in problems)
    assert any("recipients/x~" in p for p in problems)
    assert not any(".keep" in p for p in problems)


def test_a_fleet_file_that_is_a_directory_or_a_dead_link(tmp_path: Path) -> None:
    (tmp_path / "fleet.yml").mkdir()
    assert "not a regular file" in told(tmp_path)[0]
    (tmp_path / "fleet.yml").rmdir()
    (tmp_path / "fleet.yml").symlink_to("nowhere")
    assert "No such file" in "\n".join(told(tmp_path))


def test_empty_sections_are_sections_with_defaults(write_fleet: WriteFleet) -> None:
    directory = write_fleet()
    path = directory / "fleet.yml"
    path.write_text(path.read_text() + "filters:\nacme:\n  # directory: …\n")
    fleet, problems = inspect(directory, in_lab=True)
    assert problems == ()
    assert fleet is not None
    assert fleet.filters.spam.enabled


def test_anchors_and_merge_keys(write_fleet: WriteFleet) -> None:
    directory = write_fleet()
    path = directory / "fleet.yml"
    text = path.read_text().replace("  example.com:\n", "  example.com: &usual\n")
    text = text.replace("warmup:", "  sub.example.com:\n    <<: *usual\n    pools: []\nwarmup:")
    path.write_text(text)
    (directory / "recipients/sub.example.com").write_text("bob\n")
    fleet, problems = inspect(directory, in_lab=True)
    assert problems == ()
    assert fleet is not None
    assert fleet.domain("sub.example.com").pools == ()
    assert fleet.domain("sub.example.com").dmarc == fleet.domain("example.com").dmarc


def test_caps_over_the_target_are_never_reached(write_fleet: WriteFleet) -> None:
    directory = write_fleet()
    path = directory / "fleet.yml"
    text = path.read_text().replace("schedule: four-week", "schedule: own").replace("20000", "150")
    stages = "warmup:\n  schedules: {own: [{cap: 100, days: 3}, {cap: 300}]}\n"
    path.write_text(text.replace("warmup:\n", stages))
    (problem,) = inspect(directory, in_lab=True)[1]
    assert (problem.severity, problem.line, problem.field) == ("warning", 21, "target")


def test_a_secret_file_that_others_can_read(write_fleet: WriteFleet) -> None:
    directory = write_fleet({"secrets/tsig": "c2VjcmV0\n"})
    path = directory / "fleet.yml"
    path.write_text(path.read_text().replace("env:TSIG", "file:secrets/tsig"))
    (directory / "secrets/tsig").chmod(0o644)
    (problem,) = inspect(directory, in_lab=True)[1]
    assert problem.is_error
    assert problem.line == 12
    assert "mode 0644" in problem.found
    assert "c2VjcmV0" not in str(problem)
    (directory / "secrets/tsig").chmod(0o640)
    assert inspect(directory, in_lab=True)[1] == ()


def test_names_cannot_play_with_the_terminal(write_fleet: WriteFleet) -> None:
    directory = write_fleet(
        {"inventories/us.py": "mx = [('a\\x1b[2J\\nb\\udc80', {'ipv4': '198.51.100.9'})]\n"}
    )
    path = directory / "fleet.yml"
    path.write_text(path.read_text() + '"\\e[31m\\u2028": 1\n')
    os.close(os.open(os.fsencode(directory) + b"/recipients/caf\xe9", os.O_CREAT))
    problems = told(directory)
    assert len(problems) == 4
    for problem in problems:
        assert problem.isprintable()
        problem.encode()
