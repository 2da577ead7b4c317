"""The role `resolver`: an unbound of the host's own, which validates DNSSEC.

Postfix needs it for DANE (the AD bit must come from a resolver it can trust) and the filters for
DNSBLs, which turn away shared resolvers.
"""

from __future__ import annotations

from pyinfra.api.deploy import deploy

from mailfleet.fleet.model import Fleet, Host
from mailfleet.hosts import operations
from mailfleet.hosts.files import File
from mailfleet.hosts.render import render
from mailfleet.hosts.roles import Port

# Seconds for which "there is no such record" is believed.
NEGATIVE_TTL = 60

_UNBOUND = "/etc/unbound/unbound.conf.d/mailfleet.conf"
_RESOLV = "/etc/resolv.conf"

# The whole configuration, with the new file in the place of the old one. Debian's unit makes the
# trust anchor from /usr/share/dns/root.key when it starts, which it never has on a new host.
_CHECK = f"""
/usr/libexec/unbound-helper root_trust_anchor_update
for part in /etc/unbound/unbound.conf.d/*.conf; do
    [ "$part" = {_UNBOUND} ] || printf 'include: "%s"\\n' "$part"
done >"$work/unbound.conf"
printf 'include: "%s"\\n' "$(staged {_UNBOUND})" >>"$work/unbound.conf"
unbound-checkconf "$work/unbound.conf"
"""

# The root's own records, validated: shows that queries leave the host, that answers come back,
# that the trust anchor is right and so is the clock.
_ANSWERS = """
n=0
until dig +dnssec +time=3 +tries=1 @127.0.0.1 . SOA >"$work/answer" 2>&1 &&
        grep -q '^;; flags:[^;]* ad[ ;]' "$work/answer"; do
    n=$((n + 1))
    if [ "$n" -ge 5 ]; then
        cat "$work/answer"
        echo "unbound on this host gives no validated answer for the root zone, so /etc/resolv.conf"
        echo "stays as it is. Can the host reach port 53 of the world (UDP and TCP)? Is its clock"
        echo "right ($(date -u))? More: journalctl -u unbound"
        exit 1
    fi
    sleep 1
done
"""

_CHROOT = "/var/spool/postfix/etc/resolv.conf"


def packages(host: Host) -> tuple[str, ...]:
    """The same on Debian 12 and 13. `dig` asks unbound before anything depends on it."""
    return ("unbound", "dns-root-data", "bind9-dnsutils")


def ports(fleet: Fleet, host: Host) -> tuple[Port, ...]:
    """Nothing: it answers this host alone."""
    return ()


def reverse_zones(fleet: Fleet) -> tuple[str, ...]:
    """The fleet's reverse zones: unbound must ask the world for them."""
    return tuple(sorted(zone for zone in fleet.dns.zones if zone.endswith(".arpa")))


def service_files(fleet: Fleet, host: Host) -> tuple[File, ...]:
    """What unbound reads, and what keeps DHCP clients away from /etc/resolv.conf."""
    return (
        File(
            _UNBOUND,
            render(
                "etc/unbound/unbound.conf.d/mailfleet.conf.j2",
                ipv6=host.ipv6 is not None,
                negative_ttl=NEGATIVE_TTL,
                reverse_zones=reverse_zones(fleet),
            ),
        ),
        File(
            "/etc/dhcp/dhclient-enter-hooks.d/mailfleet",
            render("etc/dhcp/dhclient-enter-hooks.d/mailfleet.j2"),
        ),
        File("/etc/dhcpcd.enter-hook", render("etc/dhcpcd.enter-hook.j2")),
    )


def resolv_conf(host: Host) -> File:
    """/etc/resolv.conf, a plain file also where systemd-resolved had a link."""
    return File(_RESOLV, render("etc/resolv.conf.j2"))


def files(fleet: Fleet, host: Host) -> tuple[File, ...]:
    """Every file of the role."""
    return (*service_files(fleet, host), resolv_conf(host))


@deploy("resolver")
def resolver(fleet: Fleet, host: Host) -> None:
    """unbound first; the host's programs ask it only once it has answered."""
    wanted = service_files(fleet, host)
    operations.files(name="Configuration of unbound", files=wanted, validate=_CHECK)
    operations.service(
        name="unbound runs it", unit="unbound.service", watches=wanted[:1], reload=False
    )
    operations.files(
        name="The host asks its own unbound", files=(resolv_conf(host),), validate=_ANSWERS
    )
    operations.run(
        name="Postfix in its chroot asks it too",
        command=(
            f"cp {_RESOLV} {_CHROOT}\n"
            "if systemctl is-active --quiet postfix; then systemctl reload postfix; fi"
        ),
        unless=f"[ ! -e {_CHROOT} ] || cmp -s {_RESOLV} {_CHROOT}",
    )
