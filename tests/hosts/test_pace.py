"""The faster functions say what pyinfra's own say."""

from pathlib import Path

from fake_fleet import job, names
from pyinfra.api import arguments

from mailfleet.hosts import pace
from mailfleet.hosts.runner import run

DEPLOY = """
from importlib import import_module
from pyinfra.api.deploy import deploy
from pyinfra.api.util import get_operation_order_from_stack as original
from mailfleet.hosts import operations, pace

module = import_module("pyinfra.api.operation")


def both(state):
    one, other = original(state), pace.operation_order(state)
    if one != other or len(one) < 3:
        raise ValueError(f"{one} != {other}")
    return one


@deploy("a role")
def role():
    for number in range(2):
        operations.run(name="Once", command="true", unless="true")


module.get_operation_order_from_stack = both
operations.run(name="Once", command="true", unless="true")
role()
"""


def test_same_order_of_operations(tmp_path: Path) -> None:
    (result,) = run([job(tmp_path, names(2), deploy=DEPLOY)], tmp_path)
    assert result.ok, result


def test_same_arguments() -> None:
    before = arguments.all_global_arguments()
    pace.quicken()
    pace.quicken()
    assert arguments.all_global_arguments() == before
