"""A daily cap as parameters of main.cf: the only values that a warm-up run ever changes.

Postfix keeps `<transport>_transport_rate_delay` between two deliveries of a transport, whatever
their destination (postconf(5), since 3.1). The time starts anew after each delivery, so what leaves
in any 24 hours is at most 86,400 s / delay, and with one recipient a delivery
(`<transport>_destination_recipient_limit = 1`) that many recipients.
"""

from __future__ import annotations

from mailfleet.fleet.model import Fleet, Host
from mailfleet.warmup.schedule import cap_on, pool_of, schedule_of
from mailfleet.warmup.transports import transport_of, transports

DAY = 86_400

# The delay is a whole number of seconds: a transport sends at most 86,400 a day, or 43,200, ...
SHORTEST_DELAY = 1
# The smtp client sits out the delay, and its watchdog (daemon_timeout, 5 h) kills it when that
# takes too long (seen with Postfix 3.7 and 3.10). Whatever needs a longer delay is not sent.
LONGEST_DELAY = 4 * 3600


def allotments(fleet: Fleet, cap: int) -> dict[str, int]:
    """Recipients a day of each transport; they sum to the cap, and each is at least 0.

    A provider gets its share rounded down, and `warm` gets the rest.
    """
    shares = {transport_of(p): cap * percent // 100 for p, percent in fleet.warmup.shares.items()}
    rest = max(cap - sum(shares.values()), 0)
    return {name: shares.get(name, rest) for name in transports(fleet)}


def delay_for(allotment: int) -> int | None:
    """Seconds between two deliveries for so many a day; None: too few to be paced, defer."""
    if allotment * LONGEST_DELAY < DAY:
        return None
    return max(-(-DAY // allotment), SHORTEST_DELAY)


def delays(fleet: Fleet, cap: int) -> dict[str, int | None]:
    """Transport to seconds between two deliveries, None where the transport is deferred."""
    return {name: delay_for(number) for name, number in allotments(fleet, cap).items()}


def parameters(fleet: Fleet, host: Host, cap: int | None) -> dict[str, str]:
    """The parameters of main.cf that hold a sender to a daily cap, in the order to write them.

    `cap` is in recipients a day; 0 defers everything (a pause), and None is a host that has not
    been run yet, which gets the first day of its schedule. A transport whose part of the cap is too
    small to be paced, under six a day, is in `defer_transports`: its mail waits in the queue.

    Raises LookupError for a host without a pool, and for an unknown schedule.
    """
    if cap is None:
        pool = pool_of(fleet, host)
        cap = cap_on(schedule_of(fleet, pool), pool.target, 1)
    chosen = delays(fleet, cap)
    values = {
        f"{name}_transport_rate_delay": f"{LONGEST_DELAY if delay is None else delay}s"
        for name, delay in chosen.items()
    }
    values["defer_transports"] = " ".join(name for name, delay in chosen.items() if delay is None)
    return values


def parameter_names(fleet: Fleet) -> tuple[str, ...]:
    """The names of the parameters that `parameters` sets."""
    return (*(f"{name}_transport_rate_delay" for name in transports(fleet)), "defer_transports")
