"""deploy/site.py through plain pyinfra: what it says when it cannot begin."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mailfleet.hosts.site import fleet_name

ROOT = Path(__file__).parents[2]
NAME = "mx1.eu.example.net"


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """A copy of the example fleet, in which nothing asks for the roles' packages."""
    for name in ("inventories", "recipients", "clamav", "deploy"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "fleet.yml", tmp_path)
    return tmp_path


def pyinfra(fleet: Path, answers: dict[str, object], name: str = NAME) -> tuple[int, str]:
    """The exit code and log of a dry run on one fake host."""
    inventory = fleet / "fake.py"
    data = {"fake_delay": 0, "fake_delay_jitter": 0, "fake_responses": answers}
    inventory.write_text(f"hosts = [(f'@fake/{name}', {data!r})]\n")
    words = [sys.executable, "-m", "pyinfra", "--dry", "--json", inventory, "deploy/site.py"]
    ended = subprocess.run(
        words, cwd=fleet, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    return ended.returncode, ended.stderr


DEBIAN_13 = {"/etc/os-release": "debian 13"}


@pytest.mark.parametrize(
    ("name", "known"), [("@fake/mx1.example.net", "mx1.example.net"), ("a.example", "a.example")]
)
def test_names_of_other_connectors(name: str, known: str) -> None:
    assert fleet_name(name) == known


def test_a_host_the_fleet_does_not_know(fleet: Path) -> None:
    code, said = pyinfra(fleet, DEBIAN_13, "mx9.eu.example.net")
    assert code == 1
    assert "mx9.eu.example.net is not a host of the fleet" in said
    assert "Traceback" not in said


def test_another_release_than_the_inventory_says(fleet: Path) -> None:
    code, said = pyinfra(fleet, {"/etc/os-release": "debian 12"})
    assert code == 1
    assert f"{NAME} runs debian 12, its inventory says debian 13" in said
    assert "Traceback" not in said


def test_bad_fleet_files(fleet: Path) -> None:
    path = fleet / "fleet.yml"
    path.write_text(path.read_text().replace("schedule: four-week", "schedule: three-week"))
    code, said = pyinfra(fleet, DEBIAN_13)
    assert code == 1
    assert "three-week" in said
    assert "fleet.yml:" in said
    assert "Traceback" not in said


def test_a_broken_template(fleet: Path) -> None:
    own = fleet / "templates/etc/postfix/main.cf.j2"
    own.parent.mkdir(parents=True)
    own.write_text("{{ hots }}\n")
    code, said = pyinfra(fleet, DEBIAN_13)
    assert code == 1
    assert f"{own} line 1" in said
    assert "Traceback" not in said


def test_a_host_that_cannot_be_read(fleet: Path) -> None:
    answers: dict[str, object] = {"/etc/os-release": {"success": False, "stderr": "no shell"}}
    code, said = pyinfra(fleet, answers)
    assert code == 1
    assert "no shell" in said
    assert "Traceback" not in said
