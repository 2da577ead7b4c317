"""Plans and results of deploys as lines of text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from mailfleet.fleet.validate import count
from mailfleet.hosts.plan import HostPlan, Plan
from mailfleet.hosts.results import Event, HostResult, Result
from mailfleet.hosts.verify import Finding

_MARKS = {"create": "+", "change": "~", "remove": "-"}
_DIFF_LINES = 40


def plan_lines(plan: Plan) -> Iterator[str]:
    """A plan for people: per host its packages, files with their diffs, and services."""
    for each in plan.hosts:
        yield from _host_lines(each)
    for result in (*plan.unreachable, *plan.failed):
        yield from trouble_lines(result)


def _host_lines(plan: HostPlan) -> Iterator[str]:
    host = plan.host
    state = "first deploy" if plan.new else _count(plan) or "no changes"
    yield f"{host.name} ({host.role}, {host.region}): {state}"
    packages = [change.subject for change in plan.changes if change.kind == "package"]
    if packages:
        yield f"  packages  {' '.join(packages)}"
    told = False
    for change in plan.changes:
        if change.kind == "file":
            yield f"  {_MARKS.get(change.action, '~')} {change.subject}"
            if change.action == "change":
                yield from _diff_lines(change.diff)
        elif change.kind != "package":
            yield f"  {change.kind}  {change.subject}: {change.action}"
        told = True
    if plan.operations and not (told or packages):
        yield from (f"  {operation}" for operation in plan.operations)
    yield from (f"  note: {note}" for note in plan.notes)


def _diff_lines(diff: Sequence[str]) -> Iterator[str]:
    yield from (f"      {line}" for line in diff[:_DIFF_LINES])
    if len(diff) > _DIFF_LINES:
        yield f"      ... {len(diff) - _DIFF_LINES} more lines"


def _count(plan: HostPlan) -> str:
    counts = Counter(change.kind for change in plan.changes)
    counted = (f"{n} {kind}{'s' if n > 1 else ''}" for kind, n in counts.items())
    return ", ".join(counted) or ("changes" if plan.operations else "")


def trouble_lines(result: HostResult) -> Iterator[str]:
    """What went wrong on a host: where, what was said, what to do."""
    if result.status == "unfinished":
        yield f"{result.name}: not finished, because the run ended early; run again"
        return
    where = f" at {result.operation!r}" if result.status == "failed" else ""
    yield f"{result.name}: {result.status}{where}"
    yield from (f"    {line}" for line in result.output)
    if result.remedy:
        yield f"  -> {result.remedy}"


def result_lines(result: Result) -> Iterator[str]:
    """What became of the hosts of a wave."""
    for host in result.hosts:
        if not host.ok:
            yield from trouble_lines(host)
            continue
        done = f"{count(len(host.operations), 'operation')} changed something"
        yield f"{host.name}: {done if host.operations else 'no changes'}"
        yield from (f"  note: {note}" for note in host.notes)
    if result.error:
        yield from result.error.splitlines()


def finding_lines(findings: Iterable[Finding]) -> Iterator[str]:
    """What was seen from outside, the fine ones in one line a host."""
    fine: Counter[str] = Counter()
    for finding in findings:
        if finding.verdict == "ok":
            fine[finding.host] += 1
        else:
            yield f"{finding.verdict}: {finding.host} {finding.subject}: {finding.detail}"
    for host, number in fine.items():
        yield f"{host}: {count(number, 'connection')} as expected"


def event_line(event: Event) -> str | None:
    """A line of progress, or None for what is not worth one."""
    if event.what in ("changed", "failed"):
        return f"{event.host}  {event.operation}: {event.what}"
    if event.what == "unreachable":
        return f"{event.host}  unreachable"
    return None
