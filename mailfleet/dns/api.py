"""DNS of a fleet in five calls: claims, observe, plan, apply, verify."""

from __future__ import annotations

from dataclasses import dataclass

from mailfleet.dkim.records import load_keys
from mailfleet.dns import ledger as ledgers
from mailfleet.dns import lint
from mailfleet.dns import observe as observing
from mailfleet.dns.apply import Applied, Progress
from mailfleet.dns.apply import apply as apply_plan
from mailfleet.dns.claims import Desired, Only, derive
from mailfleet.dns.draft import Options, draft
from mailfleet.dns.errors import Moved, PlanFileError, Refused
from mailfleet.dns.ledger import Ledger
from mailfleet.dns.observe import Providers
from mailfleet.dns.plan import Plan, claims_digest
from mailfleet.dns.providers.base import World
from mailfleet.dns.servers import Authorities
from mailfleet.dns.verify import Report
from mailfleet.dns.verify import verify as verify_claims
from mailfleet.fleet.model import Fleet

VERIFY_TIMEOUT = 60.0  # seconds


@dataclass(frozen=True)
class Observation:
    """The zones and the ledger, both as they were read together."""

    world: World
    ledger: Ledger
    offline: bool = False


def quiet(message: str) -> None:
    """Progress for nobody."""


def claims(fleet: Fleet, only: Only | None = None) -> Desired:
    """What the DNS should say. `only="addresses"`: A, AAAA, HELO SPF and PTR of the hosts.

    Reads the recorded DKIM keys; raises FleetError when a record is damaged.
    """
    return derive(fleet, {} if only else load_keys(fleet), only)


def observe(fleet: Fleet, desired: Desired) -> Observation:
    """Read every zone that the claims or the ledger name.

    Raises ProviderError, LedgerError, FleetError (a secret that cannot be had).
    """
    ledger = ledgers.read(fleet.directory)
    wanted = observing.wanted(desired, ledger)
    sources = observing.providers(fleet, wanted)
    return Observation(observing.read(sources, wanted), ledger)


def nothing(desired: Desired) -> Observation:
    """Empty zones and an empty ledger, without asking anybody: `--offline`."""
    return Observation(observing.empty(desired), ledgers.EMPTY, offline=True)


def plan(
    fleet: Fleet,
    desired: Desired,
    seen: Observation,
    options: Options | None = None,
    only: Only | None = None,
) -> Plan:
    """The plan from what was seen to what is desired. `only` is what `claims` was called with.

    Raises Refused with everything that would be unsafe.
    """
    drafted = draft(desired, seen.world, seen.ledger, options or Options())
    ask = lint.nobody if seen.offline else lint.system_resolver
    findings = lint.check(desired, seen.world, drafted, ask)
    refusals = [*drafted.refusals, *findings.refusals]
    if refusals:
        raise Refused(refusals)
    return Plan(
        fleet=fleet.general.name,
        claims=claims_digest(desired),
        only=only,
        offline=seen.offline,
        zones=tuple(drafted.zones),
        waiting=desired.waiting,
        notes=(*drafted.notes, *findings.notes),
    )


def apply(fleet: Fleet, planned: Plan, progress: Progress = quiet) -> Applied:
    """Apply a plan to the zones and the ledger.

    Raises Moved when the world is no longer the one that was planned against, PlanFileError when
    the fleet files are not, ProviderError, LedgerError.
    """
    check_current(fleet, planned)
    sources = observing.providers(fleet, [z.zone for z in planned.zones if not z.by_hand])
    return apply_plan(planned, sources, fleet.directory, progress)


def check_current(fleet: Fleet, planned: Plan) -> None:
    """Raise PlanFileError when the plan was made for another fleet, or for other fleet files."""
    if planned.fleet != fleet.general.name:
        raise PlanFileError(
            f"This is a plan for the fleet {planned.fleet}, not for {fleet.general.name}."
        )
    only: Only | None = "addresses" if planned.only == "addresses" else None
    if planned.claims != claims_digest(claims(fleet, only)):
        raise PlanFileError(
            "The fleet files or the recorded DKIM keys have changed since this plan was made. "
            "Make a new one: mailfleet dns plan --out FILE"
        )


def verify(
    fleet: Fleet,
    desired: Desired,
    timeout: float = VERIFY_TIMEOUT,
    progress: Progress = quiet,
    authorities: Authorities | None = None,
) -> Report:
    """Ask the providers and every authoritative server. Raises ProviderError, FleetError."""
    wanted = observing.wanted(desired, ledgers.EMPTY)
    world = observing.read(observing.providers(fleet, wanted), wanted)
    return verify_claims(
        desired, world, authorities or Authorities(), timeout=timeout, progress=progress
    )


__all__ = [
    "Applied",
    "Moved",
    "Observation",
    "Options",
    "Plan",
    "Providers",
    "Refused",
    "Report",
    "apply",
    "check_current",
    "claims",
    "nothing",
    "observe",
    "plan",
    "verify",
]
