"""The role `spamassassin`: unwanted mail is refused at SMTP time, by spamd and spamass-milter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import PurePosixPath

from pyinfra.api.deploy import deploy

from mailfleet.fleet.model import Fleet, Host, Role
from mailfleet.hosts import operations
from mailfleet.hosts.files import File
from mailfleet.hosts.render import render
from mailfleet.hosts.roles import Port

SOCKET = "/var/spool/postfix/spamass/spamass.sock"
# The same as Postfix says it, seen from its chroot.
MILTER = "unix:spamass/spamass.sock"

# Processes that scan, 110 MB each, most of it shared.
CHILDREN = 5

_RULES = "/etc/spamassassin/mailfleet.cf"
_DEFAULTS = "/etc/default/spamd"
_SPAMD = "/etc/systemd/system/spamd.service.d/mailfleet.conf"
_UNIT = "/etc/systemd/system/spamass-milter.service"

# All of the configuration, with the new file in the place of the old one.
_CHECK = f"""
cp -rL /etc/spamassassin "$work/site"
cp "$(staged {_RULES})" "$work/site/mailfleet.cf"
spamassassin --lint --siteconfigpath="$work/site"
sh -n "$(staged {_DEFAULTS})"
"""


def packages(host: Host) -> tuple[str, ...]:
    """The same on Debian 12 and 13: spamd is a package of its own on both."""
    return ("spamassassin", "spamd", "spamc", "spamass-milter")


def ports(fleet: Fleet, host: Host) -> tuple[Port, ...]:
    """Nothing: Postfix and the milter are on the same host."""
    return ()


def inbound(fleet: Fleet) -> tuple[Host, ...]:
    """The hosts that take mail from the world."""
    return (*fleet.with_role(Role.MX), *fleet.with_role(Role.BACKUP_MX))


def relays(fleet: Fleet, host: Host) -> tuple[str, ...]:
    """Addresses of the other inbound hosts: what they hand on was filtered when it came in.

    Refusing it here would make them send a bounce to whoever the spammer claimed to be.
    """
    return tuple(str(a) for other in inbound(fleet) if other != host for a in other.addresses)


def reject_points(score: float) -> int:
    """The score as spamass-milter takes it: whole points, rounded up so that none is stricter."""
    return math.ceil(score)


def files(fleet: Fleet, host: Host) -> tuple[File, ...]:
    """Settings of SpamAssassin, of spamd and the unit of the milter."""
    score = reject_points(fleet.filters.spam.reject_score)
    return (
        File(
            _RULES,
            render(
                "etc/spamassassin/mailfleet.cf.j2",
                fleet_addresses=[str(a) for each in fleet.hosts for a in each.addresses],
                mx_addresses=[str(a) for each in inbound(fleet) for a in each.addresses],
                reject_score=score,
            ),
        ),
        File(_DEFAULTS, render("etc/default/spamd.j2", children=CHILDREN)),
        File(_SPAMD, render("etc/systemd/system/spamd.service.d/mailfleet.conf.j2")),
        File(
            _UNIT,
            render(
                "etc/systemd/system/spamass-milter.service.j2",
                socket=SOCKET,
                socket_directory=str(PurePosixPath(SOCKET).parent),
                options=_options(score, relays(fleet, host)),
            ),
        ),
    )


def _options(score: int, ignored: Sequence[str]) -> str:
    """Refuse from this score, add headers only (`-m`), pass on what these addresses send."""
    options = f"-m -r {score}"
    return f"{options} -i {','.join(ignored)}" if ignored else options


@deploy("spamassassin")
def spamassassin(fleet: Fleet, host: Host) -> None:
    """Settings, then the scanner, then the milter."""
    rules, defaults, spamd, unit = wanted = files(fleet, host)
    operations.files(name="Settings of SpamAssassin", files=wanted, validate=_CHECK)
    operations.service(
        name="spamd runs them", unit="spamd.service", watches=(rules,), restarts=(defaults, spamd)
    )
    operations.service(
        name="Postfix can ask it", unit="spamass-milter.service", restarts=(unit,), reload=False
    )
    operations.service(name="Its rules stay current", unit="spamassassin-maintenance.timer")
