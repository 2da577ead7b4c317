"""How the lab's commands end when something is wrong: with what to do, never a traceback."""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from mailfleet.cli.common import Failure
from mailfleet.lab.errors import LabError

P = ParamSpec("P")
T = TypeVar("T")


def clear_errors(function: Callable[P, T]) -> Callable[P, T]:
    """Turn a LabError into a message and exit code 1."""

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except LabError as error:
            raise Failure(str(error)) from error
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise Failure(
                f"The disk is full ({error}). Free some space, then run `mailfleet lab up` again,"
                " or `mailfleet lab down` to remove what there is."
            ) from error

    return wrapper
