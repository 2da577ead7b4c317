"""What deploy/warmup.py says: one sender at a time, inside pyinfra.

`mailfleet warmup` starts pyinfra twice on the same deploy file: first to look and tell, then to
carry out what was told. The two exchange files in a private directory that the environment
variable MAILFLEET_WARMUP names. Without it (plain pyinfra) a run decides for itself.
"""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict
from pyinfra import context

from mailfleet.fleet.model import Fleet, Host, Role
from mailfleet.hosts import roles, site
from mailfleet.warmup.apply import Service, hold_to
from mailfleet.warmup.observe import WarmupState
from mailfleet.warmup.parameters import parameter_names
from mailfleet.warmup.plan import HostPlan, Wish, make_plan

VARIABLE = "MAILFLEET_WARMUP"


class Errand(BaseModel):
    """What `mailfleet warmup` wants of pyinfra: to look, or to carry out what it saw."""

    model_config = ConfigDict(frozen=True)

    step: Literal["look", "apply"]
    wish: Wish


def errand_file(directory: Path) -> Path:
    """Where the errand is."""
    return directory / "errand"


def plan_file(directory: Path, host: str) -> Path:
    """Where the plan of a host is."""
    return directory / f"{host}.plan"


def service_of(fleet: Fleet, host: Host) -> Service:
    """Postfix on a sender, as its role runs it."""
    postfix = roles.role("postfix")
    return Service(
        unit=postfix.unit(host),
        watches=tuple(file.path for file in postfix.watched(fleet, host)),
    )


def warm_up() -> None:
    """Bring the sender at hand to the stage of its day; hosts that are no senders stay alone.

    Raises SiteError as `this_host` does, and for a date that is none.
    """
    this = site.this_host()
    if this.host.role is not Role.SENDER:
        return
    directory = os.environ.get(VARIABLE)
    if directory is None:
        plan = _plan(this, Wish(today=_today(), explicit="today" in context.host.data))
    else:
        errand = Errand.model_validate_json(errand_file(Path(directory)).read_text())
        plan = _plan(this, errand.wish)
        file = plan_file(Path(directory), this.host.name)
        if errand.step == "look":
            file.write_text(plan.model_dump_json())
        else:
            plan = _as_shown(plan, file)
    hold_to(name="Warm-up", plan=plan, service=service_of(this.fleet, this.host))


def _plan(this: site.Site, wish: Wish) -> HostPlan:
    service = service_of(this.fleet, this.host)
    reading = context.host.get_fact(
        WarmupState,
        names=parameter_names(this.fleet),
        unit=service.unit,
        watches=service.watches,
    )
    return make_plan(this.fleet, this.host, reading, wish)


def _as_shown(plan: HostPlan, file: Path) -> HostPlan:
    """The plan, or a refusal where it is not the one that was shown."""
    if not file.exists() or HostPlan.model_validate_json(file.read_text()) != plan:
        refusal = f"{plan.host} has changed since the plan was shown: run again"
        return plan.model_copy(update={"problem": refusal})
    return plan


def _today() -> dt.date:
    """`--data today=YYYY-MM-DD`, else the calendar day, UTC."""
    given = context.host.data.get("today")
    if given is None:
        return dt.datetime.now(dt.UTC).date()
    try:
        return dt.date.fromisoformat(str(given))
    except ValueError:
        raise site.SiteError(
            f"today={given} is not a date: write --data today=2026-11-22"
        ) from None
