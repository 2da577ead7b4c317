"""How `mailfleet warmup` and the deploy file that pyinfra runs for it talk to each other.

Files in a private directory, which the environment variable MAILFLEET_WARMUP names: one says what
to do, and each sender's plan comes back in one of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from mailfleet.warmup.plan import HostPlan, Wish

VARIABLE = "MAILFLEET_WARMUP"


class Errand(BaseModel):
    """To look and tell, or to carry out what was told."""

    model_config = ConfigDict(frozen=True)

    step: Literal["look", "apply"]
    wish: Wish


def write_errand(directory: Path, errand: Errand) -> None:
    """Say what to do."""
    (directory / "errand").write_text(errand.model_dump_json())


def read_errand(directory: Path) -> Errand:
    """What to do. Raises OSError and ValueError when nobody said it."""
    return Errand.model_validate_json((directory / "errand").read_text())


def write_plan(directory: Path, plan: HostPlan) -> None:
    """Tell the plan of one sender."""
    (directory / f"{plan.host}.plan").write_text(plan.model_dump_json())


def read_plan(directory: Path, host: str) -> HostPlan | None:
    """The plan of a sender, None when it did not tell one."""
    file = directory / f"{host}.plan"
    return HostPlan.model_validate_json(file.read_text()) if file.exists() else None
