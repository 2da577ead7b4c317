"""What deploy/warmup.py says: one sender at a time, inside pyinfra.

`mailfleet warmup` starts pyinfra twice on the same deploy file, first to look and tell, then to
carry out exactly what was told (see `errand`). Plain pyinfra decides and carries out in one go.
"""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

from pyinfra import context

from mailfleet.fleet.model import Fleet, Host, Role
from mailfleet.hosts import roles, site
from mailfleet.hosts.render import RenderError
from mailfleet.warmup.apply import Service, hold_to
from mailfleet.warmup.errand import VARIABLE, read_errand, read_plan, write_plan
from mailfleet.warmup.observe import WarmupState
from mailfleet.warmup.parameters import parameter_names
from mailfleet.warmup.plan import HostPlan, Wish, make_plan


def service_of(fleet: Fleet, host: Host) -> Service:
    """Postfix on a sender, as its role runs it. Raises RenderError."""
    postfix = roles.role("postfix")
    return Service(
        unit=postfix.unit(host),
        watches=tuple(file.path for file in postfix.files(fleet, host)),
        restarts=postfix.restarts(fleet, host),
    )


def warm_up() -> None:
    """Bring the sender at hand to the stage of its day; hosts that are no senders stay alone.

    Raises SiteError as `this_host` does, and for a date that is none.
    """
    this = site.this_host()
    if this.host.role is not Role.SENDER:
        return
    exchange = os.environ.get(VARIABLE)
    try:
        service = service_of(this.fleet, this.host)
    except RenderError as error:
        raise site.SiteError(f"{this.host.name}, role postfix: {error}") from error
    plan = _alone(this, service) if exchange is None else _together(this, service, Path(exchange))
    hold_to(name="Warm-up", plan=plan, service=service)


def _alone(this: site.Site, service: Service) -> HostPlan:
    """The plan of plain pyinfra; `--data today=YYYY-MM-DD` chooses the day."""
    given = context.host.data.get("today")
    if given is None:
        return _plan(this, service, Wish(today=dt.datetime.now(dt.UTC).date()))
    try:
        return _plan(this, service, Wish(today=dt.date.fromisoformat(str(given)), explicit=True))
    except ValueError:
        raise site.SiteError(f"today={given} is not a date: write today=2026-11-22") from None


def _together(this: site.Site, service: Service, directory: Path) -> HostPlan:
    """The plan that `mailfleet warmup` asks for; to be applied only as it was shown."""
    errand = read_errand(directory)
    plan = _plan(this, service, errand.wish)
    if errand.step == "look":
        write_plan(directory, plan)
    elif read_plan(directory, plan.host) != plan:
        refusal = f"{plan.host} has changed since the plan was shown: run again"
        return plan.model_copy(update={"problem": refusal})
    return plan


def _plan(this: site.Site, service: Service, wish: Wish) -> HostPlan:
    reading = context.host.get_fact(
        WarmupState,
        names=parameter_names(this.fleet),
        unit=service.unit,
        watches=service.watches,
    )
    return make_plan(this.fleet, this.host, reading, wish)
