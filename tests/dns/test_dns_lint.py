"""SPF judged on the planned records, before anybody sees them."""

from __future__ import annotations

from collections.abc import Mapping

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from dns_fleets import COM, MTA1, MX1, carried_out, desired, planned, records, world

from mailfleet.dns import lint
from mailfleet.dns.claims import Desired
from mailfleet.dns.ledger import EMPTY
from mailfleet.dns.lint import Ask, Findings, check


def others(texts: Mapping[str, str]) -> Ask:
    """The rest of the world: TXT records by name, NXDOMAIN for what is not there."""

    def ask(request: dns.message.QueryMessage) -> dns.message.Message:
        question = request.question[0]
        response = dns.message.make_response(request)
        text = texts.get(question.name.to_text(omit_final_dot=True))
        if text is None:
            response.set_rcode(dns.rcode.NXDOMAIN)
        elif question.rdtype.name == "TXT":
            response.answer.append(dns.rrset.from_text(question.name, 60, "IN", "TXT", f'"{text}"'))
        return response

    return ask


def lint_of(include: list[str], ask: Ask, **others: object) -> Findings:
    domain = {**COM, "spf": {"include": include}}
    want = desired(domains=[domain])
    seen = world(want, **others)  # type: ignore[arg-type]
    return check(want, seen, planned(want, seen), ask)


def test_the_default_is_fine_and_asks_nobody() -> None:
    def nobody(request: dns.message.QueryMessage) -> None:
        pytest.fail(f"asked for {request.question[0]}")

    assert lint_of([], nobody) == Findings()


def test_a_third_party_counts_its_own_lookups() -> None:
    chain = {f"t{i}.example": f"v=spf1 include:t{i + 1}.example -all" for i in range(8)}
    chain["t8.example"] = "v=spf1 ip4:203.0.113.1 -all"
    assert lint_of(["t0.example"], others(chain)) == Findings()  # 10: ours and nine of theirs
    chain["t8.example"] = "v=spf1 include:t9.example -all"
    chain["t9.example"] = "v=spf1 ip4:203.0.113.1 -all"
    (refusal,) = lint_of(["t0.example"], others(chain)).refusals
    assert refusal.rule == "spf-lookups"
    assert "needs 11 DNS lookups" in refusal.found
    assert refusal.name == "example.com"


def test_lookups_that_find_nothing() -> None:
    third = {"t.example": "v=spf1 a:x1.example a:x2.example a:x3.example -all"}
    (refusal,) = lint_of(["t.example"], others(third)).refusals
    assert refusal.rule == "spf-void"
    assert refusal.found.startswith("3 lookups")


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        ({}, "has no SPF record"),
        ({"t.example": "v=spf1 nonsense -all"}, "nonsense"),
        ({"t.example": "v=spf1 include:example.com -all"}, "loop"),
    ],
    ids=["absent", "syntax", "loop"],
)
def test_a_third_party_whose_record_does_not_work(texts: dict[str, str], found: str) -> None:
    (refusal,) = lint_of(["t.example"], others(texts)).refusals
    assert refusal.rule == "spf"
    assert found in refusal.found


def test_a_long_record() -> None:
    names = [f"a-rather-long-name-of-a-third-party-{i}.example" for i in range(9)]
    texts = dict.fromkeys(names, "v=spf1 ip4:203.0.113.1 -all")
    (refusal,) = lint_of(names, others(texts)).refusals
    assert refusal.rule == "spf-long"


def test_nobody_answers_for_a_third_party() -> None:
    found = lint_of(["t.example"], lint.nobody)
    assert found.refusals == []
    assert found.notes == ["not checked, because nothing answered for it: t.example"]


def test_domains_with_the_same_record_are_one_refusal() -> None:
    more = [{"name": f"{i}.example.com", "spf": {"include": ["t.example"]}} for i in range(5)]
    want = desired(domains=more)
    seen = world(want)
    (refusal,) = check(want, seen, planned(want, seen), others({})).refusals
    assert "(and 4 more domains)" in refusal.found


def test_nothing_is_checked_when_no_spf_changes() -> None:
    want: Desired = desired()
    seen = world(want)
    seen, ledger = carried_out(seen, planned(want, seen), EMPTY)
    changed = desired(
        [{**MTA1, "region": "elsewhere"}, MX1], [{**COM, "dmarc": {"policy": "reject"}}]
    )
    made = planned(changed, seen, ledger)
    assert made.zones
    assert check(changed, seen, made, others({})) == Findings()


def test_a_cname_is_followed_in_the_planned_view() -> None:
    alias = records("third.example.com 60 CNAME t.example.")
    ask = others({"t.example": "v=spf1 ip4:203.0.113.1 -all"})
    assert lint_of(["third.example.com"], ask, example_com=alias) == Findings()
    (refusal,) = lint_of(["third.example.com"], others({}), example_com=alias).refusals
    assert "has no SPF record" in refusal.found
