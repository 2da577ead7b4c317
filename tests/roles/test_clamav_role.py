"""The role `clamav`: databases, and when it is left off."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailfleet.fleet.load import load
from mailfleet.fleet.model import Fleet
from mailfleet.hosts.render import RenderError
from mailfleet.roles import clamav


@pytest.fixture(scope="module")
def example() -> Fleet:
    return load(Path(__file__).parents[2])


def having(fleet: Fleet, database: str, directory: Path) -> Fleet:
    virus = fleet.filters.virus.model_copy(update={"database": database})
    filters = fleet.filters.model_copy(update={"virus": virus})
    return fleet.model_copy(update={"filters": filters, "directory": directory})


def contents(fleet: Fleet) -> dict[str, str]:
    files = clamav.files(fleet, fleet.host("mx1.eu.example.net"))
    return {file.path: file.content for file in files}


@pytest.fixture
def private(example: Fleet, tmp_path: Path) -> Fleet:
    directory = tmp_path / "clamav"
    directory.mkdir()
    (directory / "own.ndb").write_text("Test.Own:0:*:6d61696c666c656574\n")
    (directory / "README").write_text("not a signature\n")
    return having(example, "private", tmp_path)


def test_private_signatures_are_the_fleets_files(private: Fleet) -> None:
    wanted = contents(private)
    assert wanted["/var/lib/clamav/mailfleet/own.ndb"] == "Test.Own:0:*:6d61696c666c656574\n"
    assert "/var/lib/clamav/mailfleet/README" not in wanted
    assert "\nDatabaseDirectory /var/lib/clamav/mailfleet\n" in wanted["/etc/clamav/clamd.conf"]


@pytest.mark.parametrize("unit", ["clamav-daemon.service.d", "clamav-daemon.socket.d"])
def test_with_private_signatures_nothing_waits_for_official_ones(private: Fleet, unit: str) -> None:
    drop_in = contents(private)[f"/etc/systemd/system/{unit}/mailfleet.conf"].splitlines()
    conditions = [line for line in drop_in if line.startswith("Condition")]
    assert conditions == [
        "ConditionPathExistsGlob=",  # forget Debian's
        "ConditionPathExistsGlob=/var/lib/clamav/mailfleet/*.*",
    ]


def test_official_signatures_keep_debians_conditions(example: Fleet, tmp_path: Path) -> None:
    wanted = contents(having(example, "official", tmp_path))
    assert not [path for path in wanted if path.startswith("/var/lib/clamav")]
    assert "\nDatabaseDirectory /var/lib/clamav\n" in wanted["/etc/clamav/clamd.conf"]
    for unit in ("clamav-daemon.service.d", "clamav-daemon.socket.d"):
        assert "Condition" not in wanted[f"/etc/systemd/system/{unit}/mailfleet.conf"]


def test_no_private_signatures_is_said_with_a_remedy(example: Fleet, tmp_path: Path) -> None:
    with pytest.raises(RenderError, match=r"has no signature file .* or say official"):
        clamav.signatures(having(example, "private", tmp_path))


def test_a_signature_file_that_is_not_text_is_said(private: Fleet) -> None:
    (private.directory / "clamav" / "own.ndb").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RenderError, match=r"own\.ndb cannot be used as a signature file"):
        clamav.signatures(private)


def test_infected_mail_is_refused_and_waits_while_clamd_is_away(private: Fleet) -> None:
    lines = contents(private)["/etc/clamav/clamav-milter.conf"].splitlines()
    assert "OnInfected Reject" in lines
    assert "OnFail Defer" in lines
    assert clamav.MILTER == "inet:127.0.0.1:8894"
    assert "MilterSocket inet:8894@127.0.0.1" in lines
    assert [line for line in lines if line.startswith("LocalNet")] == [
        "LocalNet 198.51.100.153",
        "LocalNet 2001:db8:2::25",
    ]


@pytest.mark.parametrize(
    ("database", "memory", "off"),
    [
        ("official", 2048, True),
        ("official", 3071, True),
        ("official", 3072, False),
        ("official", None, False),
        ("private", 512, False),
    ],
)
def test_it_is_left_off_by_memory_and_says_so(
    example: Fleet, tmp_path: Path, database: str, memory: int | None, off: bool
) -> None:
    fleet = having(example, database, tmp_path)
    reason = clamav.left_off(fleet, fleet.host("mx1.eu.example.net"), memory)
    assert (reason is not None) == off
    if reason is not None:
        assert f"the host has {memory} MiB" in reason
        assert "mx1.eu.example.net" in reason


def test_memory_is_read_from_the_kernel() -> None:
    assert clamav.Memory().process(["MemTotal:        2014244 kB"]) == 1967
