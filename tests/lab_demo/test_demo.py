"""The demo where the lab cannot run, how its steps are played, and that its checks can fail."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mailfleet.cli.main import main
from mailfleet.fleet.load import inspect
from mailfleet.lab import requirements
from mailfleet.lab.demo import steps
from mailfleet.lab.demo.story import DemoError, Say, Step, expect, play, wait_for
from mailfleet.lab.errors import LabError
from mailfleet.lab.lab import Lab
from mailfleet.lab.requirements import Requirement

ROOT = Path(__file__).parents[2]


@pytest.fixture
def fleet_directory(tmp_path: Path) -> Path:
    for name in ("inventories", "recipients", "clamav"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "fleet.yml", tmp_path)
    return tmp_path


def demo(directory: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["lab", "demo", "--fleet", str(directory), *words])


def shows_what_needs_no_hosts(result: Result, directory: Path) -> None:
    assert result.exit_code == 1
    assert "0 errors" in result.output  # check
    assert (directory / "build/rendered/mx1.eu.example.net/etc/postfix/main.cf").is_file()
    assert "+ example.com MX" in result.output  # the DNS plan
    assert "20000" in result.output  # day 30 of the warm-up
    assert "Left out" in result.output
    assert "still up" not in result.output


def test_without_root_it_shows_what_needs_no_hosts(
    fleet_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacks = [Requirement("Not root (effective user id 65534).", "Run it as root: sudo …", True)]
    monkeypatch.setattr(requirements, "missing", lambda: lacks)
    result = demo(fleet_directory)
    shows_what_needs_no_hosts(result, fleet_directory)
    assert "Not root (effective user id 65534). What to do: Run it as root: sudo …" in result.output


def test_a_lab_that_does_not_come_up_is_a_reason_too(
    fleet_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def up(self: Lab, fleet: object) -> None:
        raise LabError("The disk of mta1 cannot be mounted.", "Use another MAILFLEET_LAB_DIR.")

    monkeypatch.setattr(requirements, "missing", list)
    monkeypatch.setattr(Lab, "down", lambda self: None)
    monkeypatch.setattr(Lab, "up", up)
    result = demo(fleet_directory)
    shows_what_needs_no_hosts(result, fleet_directory)
    assert "The disk of mta1 cannot be mounted." in result.output
    assert "Use another MAILFLEET_LAB_DIR." in result.output


def test_for_machines_too(fleet_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "missing", lambda: [Requirement("No Linux.", "Get it.")])
    document = json.loads(demo(fleet_directory, "--json").stdout)
    assert document["missing"] == ["No Linux. What to do: Get it."]
    assert [outcome["passed"] for outcome in document["outcomes"]] == [True] * 4


def test_a_failed_step_is_told_and_only_an_essential_one_ends_the_demo() -> None:
    def fails(say: Say) -> Iterator[str]:
        yield "seen before"
        expect(False, "a cat", "a dog")

    def fine(say: Say) -> Iterator[str]:
        yield "seen"

    said: list[str] = []
    played = play(
        [Step("a", fails), Step("b", fine), Step("c", fails, True), Step("d", fine)],
        said.append,
        (),
    )
    assert [(o.title, o.passed) for o in played] == [("a", False), ("b", True), ("c", False)]
    assert played[0].lines == ("expected a cat, found a dog",)
    assert any("FAILED: expected a cat" in line for line in said)


def test_waiting_ends() -> None:
    assert wait_for("it", 5, iter([None, "here"]).__next__) == "here"
    with pytest.raises(DemoError, match="expected it within 0 s"):
        wait_for("it", 0, lambda: None)


RIGHT = {
    ("mx1.eu.example.net", "A"): ["198.51.100.25"],
    ("10.100.51.198.in-addr.arpa", "PTR"): ["mta1.eu.example.net."],
    ("example.com", "MX"): ["10 mx1.eu.example.net.", "100 mx1.us.example.net."],
    ("example.com", "TXT"): ['"other"', '"v=spf1 include:_spf.example.net ~all"'],
    ("_dmarc.example.com", "TXT"): ['"v=DMARC1; p=quarantine; rua=mailto:dmarc@example.com"'],
}
WRONG = {
    ("mx1.eu.example.net", "A"): ["198.51.100.26"],
    ("10.100.51.198.in-addr.arpa", "PTR"): [],
    ("example.com", "MX"): ["10 mx1.eu.example.net."],
    ("example.com", "TXT"): ['"v=spf1 include:_spf.example.net ~all"', '"v=spf1 -all"'],
    ("_dmarc.example.com", "TXT"): ['"v=DMARC1; p=none"'],
}


@pytest.mark.parametrize("question", RIGHT, ids=" ".join)
def test_what_the_name_servers_say_is_judged(question: tuple[str, str]) -> None:
    fleet, _ = inspect(ROOT, in_lab=True)
    assert fleet is not None
    fits = steps._wanted(fleet)[question]
    assert fits(RIGHT[question])
    assert not fits(WRONG[question])
