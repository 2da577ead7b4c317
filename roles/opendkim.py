"""OpenDKIM on senders: signs everything the host sends. See docs/hosts-opendkim.md."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from pyinfra import context
from pyinfra.api.deploy import deploy
from pyinfra.api.exceptions import PyinfraError

from mailfleet.dkim import apply
from mailfleet.dkim.observe import KEY_DIRECTORY, DkimKeys, key_path
from mailfleet.dkim.records import read_record
from mailfleet.dkim.selector import newest, selector_for, stem_of
from mailfleet.fleet.model import Fleet, Host
from mailfleet.hosts import operations
from mailfleet.hosts.files import File
from mailfleet.hosts.render import render
from mailfleet.hosts.roles import Port

PORT = 8891
# The milter as Postfix says it.
MILTER = f"inet:127.0.0.1:{PORT}"
UNIT = "opendkim.service"

CONFIG = "/etc/opendkim.conf"
KEY_TABLE = "/etc/opendkim/key.table"
SIGNING_TABLE = "/etc/opendkim/signing.table"


# opendkim judges its configuration, with the staged tables in the place of the live ones, but takes
# any key table: a line that it cannot use, or a key that is not there, shows only with the mail.
_CHECK = f"""
sed -e "s#{KEY_TABLE}#$(staged {KEY_TABLE})#" -e "s#{SIGNING_TABLE}#$(staged {SIGNING_TABLE})#" \
    "$(staged {CONFIG})" >"$work/opendkim.conf"
opendkim -n -x "$work/opendkim.conf"
sed '/^#/d; /^ *$/d' "$(staged {KEY_TABLE})" | while read -r name value rest; do
    path=${{value##*:}}
    case $value in
        *:*:/*) runuser -u opendkim -- test -s "$path" && [ -z "$rest" ] && continue ;;
    esac
    echo "{KEY_TABLE}: $name $value $rest: not DOMAIN:SELECTOR:PATH of a key opendkim can read"
    exit 1
done
"""


class UnreadKeys(PyinfraError):
    """The keys of a host could not be read; pyinfra shows the message on one line."""


def packages(host: Host) -> tuple[str, ...]:
    """The same on Debian 12 and 13; openssl makes the key."""
    return ("opendkim", "openssl")


def ports(fleet: Fleet, host: Host) -> tuple[Port, ...]:
    """Nothing: it listens on loopback only."""
    return ()


def signing_domains(fleet: Fleet, host: Host) -> dict[str, str]:
    """From domain to the domain that signs for it (`d=`), for everything a sender signs.

    Mail of the host itself (cron, bounces) is signed by the nearest domain above its name, which
    DMARC takes as aligned (RFC 7489 section 3.1.1).
    """
    names = {domain.name for domain in fleet.domains_of(host)}
    found = {name: name for name in sorted(names)}
    labels = host.name.split(".")
    above = (".".join(labels[n:]) for n in range(len(labels)))
    parent = next((name for name in above if name in names), None)
    if parent is not None:
        found.setdefault(host.name, parent)
    return found


def files(fleet: Fleet, host: Host, selector: str | None = None) -> tuple[File, ...]:
    """opendkim.conf and its two tables; never a key.

    `selector` is of the key that the host signs with. None takes the recorded one, and of a host
    that was never deployed one with YYYYMM for the month in which its key will be made.
    Raises FleetError for a damaged record.
    """
    chosen = selector or _recorded(fleet, host) or f"{_stem(fleet, host)}-YYYYMM"
    domains = signing_domains(fleet, host)
    values = {
        "hostname": host.name,
        "domains": domains,
        "signers": sorted(set(domains.values())),
        "selector": chosen,
        "key_path": key_path(chosen),
        "key_table": KEY_TABLE,
        "signing_table": SIGNING_TABLE,
        "socket": f"inet:{PORT}@127.0.0.1",
    }
    return (
        File(CONFIG, render("etc/opendkim.conf.j2", **values)),
        File(KEY_TABLE, render("etc/opendkim/key.table.j2", **values)),
        File(SIGNING_TABLE, render("etc/opendkim/signing.table.j2", **values)),
    )


def selector_of(fleet: Fleet, host: Host, keys: Mapping[str, str], today: dt.date) -> str:
    """The selector a host signs with: of its newest key, or of the one to be made today."""
    return newest(set(keys)) or selector_for(host.name, fleet.general.zone, today)


def _recorded(fleet: Fleet, host: Host) -> str | None:
    return newest({key.selector for key in read_record(fleet.directory, host.name)})


def _stem(fleet: Fleet, host: Host) -> str:
    return stem_of(host.name, fleet.general.zone)


@deploy("opendkim")
def opendkim(fleet: Fleet, host: Host) -> None:
    """A key of the host's own, then the signer, then the record that DNS is planned from."""
    keys = context.host.get_fact(DkimKeys)
    if keys is None:
        raise UnreadKeys(
            f"{host.name}: could not read the DKIM keys in {KEY_DIRECTORY}; is one "
            "of them damaged? Look at them there, restore it or remove it, and run the deploy again"
        )
    selector = selector_of(fleet, host, keys, dt.datetime.now(dt.UTC).date())
    wanted = files(fleet, host, selector)
    apply.key(name="DKIM key", selector=selector)
    operations.files(name="Configuration of OpenDKIM", files=wanted, validate=_CHECK)
    operations.service(name="OpenDKIM runs it", unit=UNIT, watches=wanted, reload=False)
    apply.record(name="Record of the DKIM key", directory=str(fleet.directory), hostname=host.name)
