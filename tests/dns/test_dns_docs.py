"""docs/dns.md is held to the program: every option and every rule is in it."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from mailfleet.cli.dns import dns
from mailfleet.dns.claims import Kind

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "dns.md").read_text()


@pytest.mark.parametrize("verb", ["show", "plan", "apply", "verify"])
def test_every_option_is_documented(verb: str) -> None:
    command = dns.commands[verb]
    options = {name for p in command.params if isinstance(p, click.Option) for name in p.opts}
    assert f"mailfleet dns {verb}" in TEXT
    assert {name for name in options if name not in TEXT} == set()


def test_every_rule_is_documented_and_no_other() -> None:
    code = "".join(
        (ROOT / "mailfleet" / "dns" / f"{name}.py").read_text()
        for name in ("draft", "safety", "lint")
    )
    calls = re.findall(r'(?:refuse|_refuse|Refusal)\(\s*"([a-z-]+)"', code)
    in_the_way = re.findall(r'return \(\s*"([a-z-]+)"', code)
    documented = re.findall(r"^\| `([a-z-]+)` \|", TEXT.partition("### What is refused")[2], re.M)
    assert set(documented) == {*calls, *in_the_way}


def test_every_kind_of_record_is_in_the_table() -> None:
    table = TEXT.partition("## Which records")[2].partition("## Whose records")[0]
    words = {
        Kind.ADDRESS: "A, AAAA",
        Kind.HELO: "HELO name",
        Kind.PTR: "PTR",
        Kind.MX: "MX",
        Kind.SPF: "_spf.<fleet zone>",
        Kind.DKIM: "_domainkey",
        Kind.DMARC: "_dmarc",
    }
    assert set(words) == set(Kind)
    assert all(word in table for word in words.values())
