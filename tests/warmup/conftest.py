"""The example fleet, for tests of the warm-up."""

from pathlib import Path

import pytest

from mailfleet.fleet.load import load
from mailfleet.fleet.model import Fleet, Role


@pytest.fixture(scope="session")
def fleet() -> Fleet:
    return load(Path(__file__).resolve().parents[2])


@pytest.fixture(scope="session")
def sender(fleet: Fleet):
    return fleet.with_role(Role.SENDER)[0]
