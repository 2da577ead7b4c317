"""Pools and warm-up: schedules that exist, caps that grow, shares that Postfix can pace."""

from __future__ import annotations

from collections.abc import Iterator

from mailfleet.fleet.draft import Draft
from mailfleet.fleet.errors import Problem, Severity
from mailfleet.fleet.model import Pool, Role
from mailfleet.fleet.validate import did_you_mean, words
from mailfleet.warmup.parameters import DAY, LONGEST_DELAY
from mailfleet.warmup.schedule import BUILT_IN

# Six a day: Postfix cannot keep a longer delay between two mails, see mailfleet.warmup.parameters.
FEWEST = DAY // LONGEST_DELAY


def check(draft: Draft) -> Iterator[Problem]:
    """Pools against hosts and domains, schedules and shares by themselves and together."""
    yield from _unused(draft)
    yield from _schedules(draft)
    for name, pool in draft.sections.pools.items():
        known = {*BUILT_IN, *draft.declared("warmup", "schedules")}
        if pool.schedule not in known:
            accepted = f"a schedule: {words(sorted(known))}"
            hint = did_you_mean(pool.schedule, known)
            found = f'the unknown schedule "{pool.schedule}"'
            yield draft.in_file(("pools", name, "schedule"), found, accepted, hint)
    total = sum(draft.sections.warmup.shares.values())
    if total > 100:
        found = f"shares that sum to {total} %"
        yield draft.in_file(("warmup", "shares"), found, "at most 100 % together", key=True)
    else:
        yield from _too_few(draft, 100 - total)


def _unused(draft: Draft) -> Iterator[Problem]:
    if not (draft.file_complete and draft.hosts_complete):
        return
    with_senders = [entry.data.get("pool") for entry in draft.by_role[Role.SENDER]]
    of_domains = {pool for domain in draft.sections.domains.values() for pool in domain.pools}
    for name in draft.declared("pools"):
        where = ("pools", name)
        found = "a pool without a sender" if name not in with_senders else ""
        if name not in of_domains:
            found = found or "a pool whose senders sign for no domain"
            found = "a pool nobody uses" if name not in with_senders else found
        if found:
            yield draft.in_file(
                where,
                found,
                "pools that senders are in and domains name",
                key=True,
                severity=Severity.WARNING,
            )


def _schedules(draft: Draft) -> Iterator[Problem]:
    for name, spans in draft.sections.warmup.schedules.items():
        where = ("warmup", "schedules", name)
        if name in BUILT_IN:
            found = "the name of a built-in schedule, which it replaces"
            yield draft.in_file(
                where, found, "a name of its own", key=True, severity=Severity.WARNING
            )
        for index in range(1, len(spans)):
            before, cap = spans[index - 1].cap, spans[index].cap
            if cap <= before:
                yield draft.in_file(
                    (*where, index, "cap"),
                    f"{cap} after {before}",
                    "caps that increase",
                    severity=Severity.WARNING,
                )
    for name, pool in draft.sections.pools.items():
        spans = draft.sections.warmup.schedules.get(pool.schedule, ())
        highest = max((span.cap for span in spans), default=0)
        if highest > pool.target:
            yield draft.in_file(
                ("pools", name, "target"),
                f"{pool.target}, under the cap {highest} of the schedule {pool.schedule}",
                "a target that is at least the highest cap",
                "Caps over the target are never reached.",
                severity=Severity.WARNING,
            )


def _lowest_cap(draft: Draft, pool: Pool) -> int | None:
    own = draft.sections.warmup.schedules.get(pool.schedule)
    if own is not None:
        return min(pool.target, *(span.cap for span in own))
    built_in = BUILT_IN.get(pool.schedule)
    if built_in is None:
        return None
    return min([pool.target, *(stage.cap for stage in built_in.stages if stage.cap is not None)])


def _too_few(draft: Draft, rest: int) -> Iterator[Problem]:
    """The lowest cap of a pool, split into shares: every part must be enough to be paced."""
    shares: dict[str, int] = {str(p): n for p, n in draft.sections.warmup.shares.items()}
    shares["every other provider"] = rest
    for name, pool in draft.sections.pools.items():
        cap = _lowest_cap(draft, pool)
        for provider, percent in shares.items() if cap is not None else ():
            number = (cap or 0) * percent // 100
            if number >= FEWEST:
                continue
            where: tuple[str, ...] = ("warmup", "shares", provider)
            if provider not in draft.declared("warmup", "shares"):
                where = ("pools", name, "schedule")
            yield draft.in_file(
                where,
                f"{percent} % of {cap} mails a day (pool {name}, schedule {pool.schedule}): "
                f"{number} a day for {provider}",
                f"at least {FEWEST} a day for each: Postfix cannot pace fewer",
                "Raise the lowest cap, or the share.",
            )
