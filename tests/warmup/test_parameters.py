"""The parameters of main.cf that hold a sender to a cap."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailfleet.warmup.parameters import (
    LONGEST_DELAY,
    allotments,
    delay_for,
    delays,
    parameter_names,
    parameters,
)
from mailfleet.warmup.transports import provider_domains, transport_map, transports

PROVIDERS = ("google", "microsoft", "yahoo", "apple")
caps = st.integers(0, 10**7)
shares = st.dictionaries(st.sampled_from(PROVIDERS), st.integers(0, 100)).filter(
    lambda chosen: sum(chosen.values()) <= 100
)


def with_shares(fleet, chosen):
    return fleet.model_copy(update={"warmup": fleet.warmup.model_copy(update={"shares": chosen})})


def test_the_first_day_of_the_example_fleet(fleet, sender):
    assert parameters(fleet, sender, None) == {
        "warm_transport_rate_delay": "2160s",
        "warm-google_transport_rate_delay": "1080s",
        "warm-microsoft_transport_rate_delay": "1440s",
        "warm-yahoo_transport_rate_delay": "4320s",
        "defer_transports": "",
    }


def test_a_cap_of_nothing_defers_every_transport(fleet, sender):
    assert parameters(fleet, sender, 0)["defer_transports"].split() == list(transports(fleet))


@pytest.mark.parametrize(
    ("allotment", "delay"),
    [
        (0, None),
        (5, None),
        (6, LONGEST_DELAY),
        (7, 12343),
        (43_199, 3),
        (43_200, 2),
        (86_399, 2),
        (86_400, 1),
        (10**9, 1),
    ],
)
def test_the_delay_of_so_many_a_day(allotment, delay):
    assert delay_for(allotment) == delay


@given(caps, shares)
def test_what_can_leave_in_any_24_hours_is_at_most_the_cap(fleet, cap, chosen):
    """Attempts spaced by the delay: at most ceil(day / delay) of them fit into one day."""
    attempts = [
        math.ceil(86_400 / delay)
        for delay in delays(with_shares(fleet, chosen), cap).values()
        if delay is not None
    ]
    assert sum(attempts) <= cap


@given(caps, shares)
def test_no_provider_gets_more_than_its_share_of_the_cap(fleet, cap, chosen):
    given_out = allotments(with_shares(fleet, chosen), cap)
    assert sum(given_out.values()) == cap
    for provider, percent in chosen.items():
        assert given_out[f"warm-{provider}"] * 100 <= cap * percent


@given(caps, shares)
def test_every_delay_is_one_that_postfix_sits_out(fleet, sender, cap, chosen):
    own = with_shares(fleet, chosen)
    values = parameters(own, sender, cap)
    assert tuple(values) == parameter_names(own)
    for name, value in values.items():
        if name != "defer_transports":
            assert value[-1] == "s"
            assert 1 <= int(value[:-1]) <= LONGEST_DELAY


@given(caps, st.integers(0, 10**6), shares)
def test_a_higher_cap_is_never_a_slower_transport(fleet, cap, more, chosen):
    own = with_shares(fleet, chosen)
    slow, fast = delays(own, cap), delays(own, cap + more)
    for provider in chosen:
        name = f"warm-{provider}"
        if slow[name] is not None:
            assert fast[name] is not None
            assert fast[name] <= slow[name]


def test_transports_are_one_a_share_and_the_rest(fleet):
    assert transports(fleet) == ("warm", "warm-google", "warm-microsoft", "warm-yahoo")


def test_domains_of_a_provider_without_a_share_are_not_routed(fleet):
    routed = transport_map(fleet)
    assert routed["gmail.com"] == "warm-google"
    assert routed["outlook.com"] == "warm-microsoft"
    assert routed["aol.com"] == "warm-yahoo"
    assert "icloud.com" not in routed
    assert provider_domains()["icloud.com"] == "apple"


def test_provider_domains_are_domain_names(fleet):
    for domain in provider_domains():
        assert domain == domain.lower().strip()
        assert "." in domain
