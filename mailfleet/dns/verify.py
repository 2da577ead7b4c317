"""Is it so? By another path than the one that wrote it: every authoritative address is asked.

Three answers, apart: *applied* (the provider holds it), *published* (some authoritative server
answers with it), *agreed* (all of them do, over IPv4 and IPv6). Then forward-confirmed reverse
DNS (RFC 1912 section 2.1) of every host's addresses, as receivers do it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import dns.reversename
from dns.rdatatype import RdataType

from mailfleet.dns.claims import Claim, Desired, Kind
from mailfleet.dns.draft import NOT_OURS
from mailfleet.dns.providers.base import World
from mailfleet.dns.records import RRset, canonical_name, key_text, presentation
from mailfleet.dns.servers import Authorities, NoServers, Server

WORKERS = 32
BATCH = 50  # questions that one worker asks a server
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0  # seconds between two rounds

Progress = Callable[[str], None]


@dataclass(frozen=True, order=True)
class Difference:
    """One RRset that is not as it should be. `where` is a server, a provider or an address."""

    where: str
    record: str
    wanted: str
    found: str

    def __str__(self) -> str:
        return f"{self.record} at {self.where}: wanted {self.wanted}; {self.found}"


@dataclass(frozen=True)
class Report:
    """What verify saw. A part of None was not looked at. `seconds` is how long it took."""

    claims: int
    servers: tuple[str, ...]
    not_asked: tuple[str, ...]
    applied: tuple[Difference, ...] | None
    published: tuple[Difference, ...]
    agreed: tuple[Difference, ...]
    reverse: tuple[Difference, ...]
    addresses: int
    waiting: tuple[str, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        return not (self.applied or self.published or self.agreed or self.reverse)

    def as_json(self) -> dict[str, Any]:
        return {"ok": self.ok, **asdict(self)}


@dataclass(frozen=True)
class _Question:
    """One claim for one server."""

    server: Server
    claim: Claim


def verify(
    desired: Desired,
    world: World | None,
    authorities: Authorities,
    *,
    timeout: float,
    progress: Progress,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Report:
    """Ask until all agree, `timeout` seconds at most. `world` is what the providers hold."""
    start = clock()
    questions, nowhere = _questions(desired, authorities)
    skipped: dict[Server, str] = {}
    answered: set[tuple[str, RdataType]] = set()
    asked: set[Server] = set()
    pause = FIRST_PAUSE
    open_: dict[_Question, str] = dict.fromkeys(questions, "")
    while True:
        results = _round(list(open_), authorities)
        for question, (state, reason) in results.items():
            if state == "no-route":
                skipped[question.server] = reason
            else:
                asked.add(question.server)
            if state == "right":
                answered.add(question.claim.key)
            if state != "wrong":
                del open_[question]
            else:
                open_[question] = reason
        left = timeout - (clock() - start)
        if not open_ or left <= 0:
            break
        progress(_waiting_for(open_, left))
        sleep(min(pause, left))
        pause = min(2 * pause, LONGEST_PAUSE)
    differences = [
        Difference(str(q.server), key_text(q.claim.key), _values(q.claim.rrset), reason)
        for q, reason in open_.items()
    ]
    published = [*nowhere, *_unpublished(desired, questions, answered, open_, skipped)]
    reverse = _reverse(desired, authorities)
    return Report(
        claims=len(desired.claims),
        servers=tuple(str(server) for server in sorted(asked)),
        not_asked=tuple(f"{server}: {why}" for server, why in sorted(skipped.items())),
        applied=None if world is None else tuple(sorted(_applied(desired, world))),
        published=tuple(sorted(published)),
        agreed=tuple(sorted(differences)),
        reverse=tuple(sorted(reverse)),
        addresses=sum(claim.kind is Kind.PTR for claim in desired.claims),
        waiting=desired.waiting,
        seconds=round(clock() - start, 2),
    )


def _questions(
    desired: Desired, authorities: Authorities
) -> tuple[list[_Question], list[Difference]]:
    """Every claim for every server of its zone, and the claims whose zone has no servers."""
    questions: list[_Question] = []
    nowhere: list[Difference] = []

    def servers(claim: Claim) -> tuple[Server, ...] | NoServers:
        try:
            return authorities.of(claim.zone or authorities.zone_of(claim.key[0]))
        except NoServers as error:
            return error

    zones = {claim.zone or claim.key[0]: claim for claim in desired.claims}
    with ThreadPoolExecutor(WORKERS) as pool:
        found = dict(zip(zones, pool.map(servers, zones.values()), strict=True))
    for claim in desired.claims:
        known = found[claim.zone or claim.key[0]]
        if isinstance(known, NoServers):
            values = _values(claim.rrset)
            nowhere.append(Difference("no server", key_text(claim.key), values, str(known)))
        else:
            questions += [_Question(server, claim) for server in known]
    return questions, nowhere


def _round(
    questions: list[_Question], authorities: Authorities
) -> dict[_Question, tuple[str, str]]:
    """Ask each server its questions, in parallel; one that is silent is left alone."""
    by_server: dict[Server, list[_Question]] = {}
    for question in questions:
        by_server.setdefault(question.server, []).append(question)
    batches = [
        batch[start : start + BATCH]
        for batch in by_server.values()
        for start in range(0, len(batch), BATCH)
    ]

    def one(batch: list[_Question]) -> dict[_Question, tuple[str, str]]:
        results: dict[_Question, tuple[str, str]] = {}
        given_up: tuple[str, str] | None = None
        for question in batch:
            if given_up is None:
                answer = authorities.ask(question.server, *question.claim.key)
                if answer.status in ("silent", "no-route"):
                    given_up = ("wrong" if answer.status == "silent" else "no-route", answer.reason)
                elif answer.status == "lame":
                    results[question] = ("wrong", answer.reason)
                else:
                    problem = _problem(question.claim, answer.rrset, answer.reason)
                    results[question] = ("wrong", problem) if problem else ("right", "")
            if given_up is not None:
                results[question] = given_up
        return results

    results: dict[_Question, tuple[str, str]] = {}
    with ThreadPoolExecutor(WORKERS) as pool:
        for part in pool.map(one, batches):
            results.update(part)
    return results


def _problem(claim: Claim, found: RRset | None, nothing: str) -> str:
    """What is wrong with an answer; empty when it is right."""
    if found is None:
        return f"found: {nothing}"
    wanted = claim.rrset.rdatas
    if found.rdatas == wanted:
        return ""
    if claim.exclusive:
        return f"found: {_values(found)}"
    missing = not wanted <= found.rdatas
    doubled = [presentation(r) for r in found.rdatas - wanted if claim.takes_our_place(r)]
    if missing or doubled:
        return f"found: {_values(found)}"
    return ""


def _applied(desired: Desired, world: World) -> Iterable[Difference]:
    for claim in desired.claims:
        zone = claim.zone or NOT_OURS
        view = world.get(zone)
        if view is None:
            continue
        problem = _problem(claim, view.rrsets.get(claim.key), "nothing")
        if problem:
            where = f"account {view.account}" if view.account else "its provider (by hand)"
            yield Difference(where, key_text(claim.key), _values(claim.rrset), problem)


def _unpublished(
    desired: Desired,
    questions: Iterable[_Question],
    answered: set[tuple[str, RdataType]],
    open_: dict[_Question, str],
    skipped: dict[Server, str],
) -> Iterable[Difference]:
    """Claims that no server at all answers with, or that no server could be asked about."""
    unreachable = {q.claim.key for q in questions if q.server in skipped}
    wrong = {question.claim.key for question in open_}
    for claim in desired.claims:
        if claim.key in answered:
            continue
        record, values = key_text(claim.key), _values(claim.rrset)
        if claim.key in wrong:
            yield Difference("every server", record, values, "no server answers with it")
        elif claim.key in unreachable:
            yield Difference(
                "every server", record, values, "this machine has no route to any of its servers"
            )


def _reverse(desired: Desired, authorities: Authorities) -> list[Difference]:
    """Forward-confirmed reverse DNS of every address that has a PTR claim."""
    claims = [claim for claim in desired.claims if claim.kind is Kind.PTR]
    with ThreadPoolExecutor(WORKERS) as pool:
        found = pool.map(lambda claim: _confirmed(claim, authorities), claims)
        return [difference for difference in found if difference is not None]


def _confirmed(claim: Claim, authorities: Authorities) -> Difference | None:
    reverse = dns.name.from_text(f"{claim.key[0]}.")
    address = dns.reversename.to_address(reverse)
    rdtype = RdataType.AAAA if ":" in address else RdataType.A

    def wrong(found: str) -> Difference:
        wanted = f"PTR {claim.subject}, and that name's address {address}"
        return Difference(f"[{address}]", key_text(claim.key), wanted, found)

    try:
        ptr = authorities.lookup(claim.key[0], RdataType.PTR)
        if ptr.rrset is None:
            return wrong(f"no PTR: {ptr.reason}")
        names = sorted(canonical_name(r.to_text()) for r in ptr.rrset.rdatas)
        if names != [claim.subject]:
            return wrong(f"the PTR says {', '.join(names)}")
        forward = authorities.lookup(claim.subject, rdtype)
    except NoServers as error:
        return wrong(str(error))
    if forward.rrset is None:
        return wrong(f"{claim.subject} has no {RdataType.to_text(rdtype)}: {forward.reason}")
    addresses = forward.rrset.texts
    if address not in addresses:
        return wrong(f"{claim.subject} is at {', '.join(addresses)}")
    return None


def _waiting_for(open_: dict[_Question, str], left: float) -> str:
    servers = sorted({str(question.server) for question in open_})
    return f"waiting for {len(open_)} answers of {', '.join(servers)}, {left:.0f} s left"


def _values(rrset: RRset) -> str:
    return ", ".join(rrset.texts)
