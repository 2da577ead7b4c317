"""What tests on real hosts share: a lab of their own, and the same lab with the fleet deployed.

The tests never touch the lab that a person may have running: theirs is another directory, and so
another namespace, named after this checkout; and it plays a copy of the example fleet. To iterate
quickly on a lab that stays up, set MAILFLEET_TEST_LAB to a lab's directory and run `mailfleet lab
up` there first.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from mailfleet.fleet.load import load
from mailfleet.fleet.model import Fleet
from mailfleet.lab import requirements
from mailfleet.lab.lab import Lab
from mailfleet.lab.layout import layout

EXAMPLE = Path(__file__).parents[2]
# What makes up the example fleet; the rest of the repository is the program.
FLEET_FILES = ("fleet.yml", "inventories", "recipients", "clamav", "deploy")


def own_directory(name: str, checkout: Path = EXAMPLE) -> Path:
    """A lab directory for the tests of this checkout; those of another may run at the same time."""
    digest = sha256(str(checkout.resolve()).encode()).hexdigest()[:8]
    return Path(f"/var/lib/mailfleet/test-{name}-{digest}")


def shared_directory() -> Path:
    """Where the shared lab is."""
    return Path(os.environ.get("MAILFLEET_TEST_LAB") or own_directory("lab"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What wants bare hosts comes before what deploys them; a deployed host's firewall is up."""
    items.sort(key=lambda item: "deployed" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def able() -> None:
    """Skip, with the reason, only where no package could make the lab run; else fail."""
    missing = requirements.missing(layout(shared_directory()))
    hopeless = [item for item in missing if item.essential]
    if hopeless:
        reasons = " ".join(f"{item.what} {item.remedy}" for item in hopeless)
        pytest.skip(f"THE LAB TESTS DID NOT RUN: {reasons}")
    if missing:
        pytest.fail(
            "Debian packages are missing: "
            + " ".join(f"{item.what} {item.remedy}" for item in missing)
            + " (`mailfleet lab install` gets them)",
            pytrace=False,
        )


def copy_fleet(target: Path) -> Path:
    """A copy of the example fleet, without what it remembers."""
    target.mkdir(parents=True, exist_ok=True)
    for name in FLEET_FILES:
        source = EXAMPLE / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy2(source, target / name)
    return target


@pytest.fixture(scope="session")
def copy_example() -> Callable[[Path], Path]:
    """What copies the example fleet to a directory of the test's own."""
    return copy_fleet


@pytest.fixture(scope="session")
def second_directory() -> Path:
    """Where a test may have a lab of its own, beside the shared one."""
    return own_directory("down")


@pytest.fixture(scope="session")
def lab(able: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A running lab. Taken down at the end, unless it was up before the tests began."""
    lab = Lab(shared_directory(), report=_tell)
    if os.environ.get("MAILFLEET_TEST_LAB") and lab.is_up:
        lab.up(load(lab.record().fleet_directory))
        yield lab
        return
    lab.down()
    try:
        lab.up(load(copy_fleet(tmp_path_factory.mktemp("fleet") / "example")))
        yield lab
    finally:
        lab.down()


@pytest.fixture(scope="session")
def fleet(lab: Lab) -> Fleet:
    """The fleet that the lab plays."""
    return load(lab.record().fleet_directory)


@pytest.fixture(scope="session")
def deployed(lab: Lab) -> Lab:
    """The lab after `mailfleet up --yes`: hosts deployed, DNS published, warm-up begun."""
    result = lab.run(["mailfleet", "up", "--yes"], check=False, timeout=1200)
    if result.returncode:
        pytest.fail(
            f"`mailfleet up --yes` ended with {result.returncode}:\n"
            f"{result.stdout[-6000:]}\n{result.stderr[-6000:]}",
            pytrace=False,
        )
    return lab


def _tell(line: str) -> None:
    os.write(2, f"lab: {line}\n".encode())
