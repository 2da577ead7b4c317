"""Two functions of pyinfra 3.10 that take most of its time, done faster with the same results.

Measured in November 2026 with bench/deploy_fake.py: `inspect.stack()` reads the source of every
frame and searches every loaded module for it, once for each operation and host, though only line
numbers are wanted; the names and types of the global arguments are worked out anew for each
operation and fact. The pin on the minor series and tests/hosts/test_pace.py keep this honest.
"""

from __future__ import annotations

import functools
import inspect
from importlib import import_module
from types import FrameType

import pyinfra
from pyinfra.api import arguments
from pyinfra.api.state import State
from pyinfra.api.util import PYINFRA_INSTALL_DIR


def operation_order(state: State) -> list[int]:
    """The line numbers of the stack from the deploy file on, pyinfra's own frames left out.

    What `pyinfra.api.util.get_operation_order_from_stack` returns.
    """
    frames: list[tuple[str, int]] = []
    current = inspect.currentframe()
    frame: FrameType | None = current.f_back if current else None
    while frame is not None:
        frames.append((frame.f_code.co_filename, frame.f_lineno))
        frame = frame.f_back
    frames.reverse()
    names = [name for name, _ in frames]
    deploy = state.current_deploy_filename
    first = names.index(deploy) if deploy in names else max(len(names) - 1, 0) if deploy else 0
    lines = [line for name, line in frames[first:] if not name.startswith(PYINFRA_INSTALL_DIR)]
    return [state.current_op_file_number, *lines] if pyinfra.is_cli else lines


def quicken() -> None:
    """Have pyinfra use them. Harmless when called again."""
    # By its module's name: `pyinfra.api.operation` as an attribute is the decorator.
    module = import_module("pyinfra.api.operation")
    module.get_operation_order_from_stack = operation_order  # type: ignore[attr-defined]
    if not hasattr(arguments.all_global_arguments, "cache_info"):
        arguments.all_global_arguments = functools.cache(arguments.all_global_arguments)
