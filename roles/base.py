"""The role `base`: the host's name, its directories, its clock and its security updates.

The name of a mail host is its HELO and its PTR, so it is set everywhere a program looks for it:
the kernel, /etc/hostname, /etc/hosts and /etc/mailname.
"""

from __future__ import annotations

import shlex

from pyinfra.api.deploy import deploy

from mailfleet.fleet.model import Fleet, Host
from mailfleet.hosts import operations
from mailfleet.hosts.files import File
from mailfleet.hosts.render import render
from mailfleet.hosts.roles import Port

_TMPFILES = "/etc/tmpfiles.d/mailfleet.conf"
_DIRECTORIES = ("/etc/mailfleet/tls", "/run/mailfleet", "/var/lib/mailfleet")

# In a container the clock is the host's, and systemd skips the unit.
_CLOCK_RUNS = (
    "! systemctl is-enabled --quiet systemd-timesyncd || systemd-detect-virt --container --quiet "
    "|| systemctl is-active --quiet systemd-timesyncd"
)


def packages(host: Host) -> tuple[str, ...]:
    """The same on Debian 12 and 13. Another daemon that keeps the time stays where there is one."""
    return ("ca-certificates", "unattended-upgrades", "systemd-timesyncd | time-daemon")


def ports(fleet: Fleet, host: Host) -> tuple[Port, ...]:
    """Nothing."""
    return ()


def files(fleet: Fleet, host: Host) -> tuple[File, ...]:
    """Every file, except /etc/hosts, of which only the host's own lines are ours."""
    return (
        File("/etc/hostname", f"{host.name}\n"),
        File("/etc/mailname", f"{host.name}\n"),
        File(_TMPFILES, render("etc/tmpfiles.d/mailfleet.conf.j2")),
        File("/etc/apt/apt.conf.d/52mailfleet", render("etc/apt/apt.conf.d/52mailfleet.j2")),
        File(
            "/etc/cloud/cloud.cfg.d/99-mailfleet.cfg",
            render("etc/cloud/cloud.cfg.d/99-mailfleet.cfg.j2"),
        ),
    )


def hosts_lines(host: Host) -> tuple[str, ...]:
    """What /etc/hosts says of the host itself and of the loopback addresses."""
    names = f"{host.name} {host.name.partition('.')[0]}"
    return (
        "127.0.0.1 localhost",
        "::1 localhost ip6-localhost ip6-loopback",
        *(f"{address} {names}" for address in host.addresses),
    )


def edit_hosts(host: Host) -> str:
    """A shell command that prints /etc/hosts as it should be; a second pass changes nothing.

    Lines of other names stay. Lines of our name or addresses, and Debian's 127.0.1.1, go: a host
    with a fixed address has its name there and nowhere else (hosts(5)).
    """
    names = {host.name, host.name.partition(".")[0]}
    addresses = {str(address) for address in host.addresses} | {"127.0.1.1"}
    program = (
        "BEGIN { split(names, n); for (i in n) ours[n[i]]; split(addresses, a); "
        "for (i in a) ours[a[i]] } "
        "/^[ \\t]*#/ || NF == 0 { print; next } "
        '$1 == "127.0.0.1" && $2 == "localhost" && NF == 2 { next } '
        '$1 == "::1" && $2 == "localhost" { next } '
        "{ for (i = 1; i <= NF; i++) { if ($i ~ /^#/) break; if ($i in ours) next } print }"
    )
    variables = f"-v names={shlex.quote(' '.join(sorted(names)))}"
    variables += f" -v addresses={shlex.quote(' '.join(sorted(addresses)))}"
    added = " ".join(shlex.quote(line) for line in hosts_lines(host))
    return (
        f"{{ printf '%s\\n' {added}; cat /etc/hosts 2>/dev/null || :; }} | "
        f"awk -v kept={len(hosts_lines(host))} {variables} "
        f"'NR <= kept {{ print; next }} {program}'"
    )


@deploy("base")
def base(fleet: Fleet, host: Host) -> None:
    """Name, directories, clock, security updates."""
    operations.files(name="Name of the host, directories, updates", files=files(fleet, host))
    operations.run(
        name="Name and directories are in force",
        command=(
            f"systemd-tmpfiles --create {_TMPFILES}\n"
            "hostname -F /etc/hostname\n"
            f"{edit_hosts(host)} >/etc/.hosts.mailfleet-new\n"
            "chmod 644 /etc/.hosts.mailfleet-new\n"
            "mv -f /etc/.hosts.mailfleet-new /etc/hosts"
        ),
        unless=(
            " && ".join(f"[ -d {directory} ]" for directory in _DIRECTORIES)
            + f' && [ "$(hostname)" = {host.name} ]'
            + f' && [ "$({edit_hosts(host)})" = "$(cat /etc/hosts)" ]'
        ),
    )
    operations.run(
        name="The time is kept",
        command="systemctl enable --now systemd-timesyncd",
        unless=_CLOCK_RUNS,
    )
