"""Postfix: paced sending, inbound mail, or holding it for others. See docs/hosts-postfix.md."""

from __future__ import annotations

from collections.abc import Mapping

from pyinfra import context
from pyinfra.api.deploy import deploy
from pyinfra.api.exceptions import PyinfraError

from mailfleet.fleet.model import Fleet, Host, Role
from mailfleet.hosts import operations
from mailfleet.hosts.files import File
from mailfleet.hosts.render import render
from mailfleet.hosts.roles import Port
from mailfleet.roles import clamav
from mailfleet.roles.postfix_maps import DIRECTORY, maps
from mailfleet.roles.postfix_settings import MAILDIRS, VMAIL, VMAIL_ID, Settings, settings
from mailfleet.warmup.observe import WarmupState
from mailfleet.warmup.reading import parameters_in_force

MAIN = f"{DIRECTORY}/main.cf"
MASTER = f"{DIRECTORY}/master.cf"

# The package asks for nothing and writes no main.cf, on no upgrade either: that is our work.
DEBCONF = ("postfix postfix/main_mailer_type select No configuration",)


def packages(host: Host) -> tuple[str, ...]:
    """The same on Debian 12 and 13."""
    return ("ca-certificates", "postfix")


def ports(fleet: Fleet, host: Host) -> tuple[Port, ...]:
    """25 on hosts that take mail from the world; a sender listens on loopback only."""
    return () if host.role is Role.SENDER else (Port(25, answers="smtp"),)


def unit(host: Host) -> str:
    """The systemd unit that runs Postfix: an instance of a template up to Debian 12."""
    return "postfix@-.service" if host.debian == 12 else "postfix.service"


class StageError(PyinfraError):
    """The stage of a sender is not known; pyinfra shows the message on one line."""


def files(
    fleet: Fleet, host: Host, warmup: Mapping[str, str] | None = None, scanner: bool = True
) -> tuple[File, ...]:
    """main.cf, master.cf and the lookup tables.

    `warmup` are the parameters of the stage that a sender is in; None is the first day. `scanner`
    is False where ClamAV is left off. Raises RenderError for a recipient that cannot be a mailbox.
    """
    wanted = settings(fleet, host, warmup, scanner)
    return (
        File(MAIN, _text("main.cf", wanted)),
        File(MASTER, _text("master.cf", wanted)),
        *maps(fleet, host, wanted),
    )


def _text(name: str, wanted: Settings) -> str:
    return render(f"etc/postfix/{name}.j2", s=wanted, maildirs=MAILDIRS, vmail_id=VMAIL_ID)


def validation(tables: tuple[File, ...]) -> str:
    """Shell lines that judge staged files: a copy of the configuration, read by Postfix's tools.

    Whatever they say is an error: an unused parameter is a misspelt one, and a line of a table
    that Postfix skips is mail that it refuses.
    """
    lines = [
        'mkdir "$work/postfix"; cd "$work/postfix"; umask 022',
        f'cat "$(staged {MAIN})" >main.cf; cat "$(staged {MASTER})" >master.cf',
        "if [ -e /etc/postfix/dynamicmaps.cf ]; then cat /etc/postfix/dynamicmaps.cf "
        ">dynamicmaps.cf; fi",
        "{ postconf -c . -n; postconf -c . -M; } 2>said >/dev/null || { sort -u said; exit 1; }",
        *(
            f'echo any | postmap -c . -q - "{_kind(table)}:$(staged {table.path})" 2>>said || :'
            for table in tables
        ),
        "if [ -s said ]; then sort -u said; exit 1; fi",
        'postfix -c "$PWD" check',
    ]
    return "\n".join(lines)


def _kind(table: File) -> str:
    return "cidr" if table.path.endswith(".cidr") else "texthash"


def restarts(fleet: Fleet, host: Host) -> tuple[File, ...]:
    """What a reload is not enough for: inet_protocols (postconf(5)), one line of main.cf."""
    return (File(MAIN, f"inet_protocols = {settings(fleet, host).protocols}\n"),)


@deploy("postfix")
def postfix(fleet: Fleet, host: Host) -> None:
    """Have Postfix run what the fleet says, and pace it by the stage the host is in."""
    wanted = files(fleet, host, _stage(fleet, host), _is_scanned(fleet, host))
    if host.role is Role.MX:
        operations.run(
            name="Owner and directory of the Maildirs",
            command=_MAKE_MAILDIRS,
            unless=_HAS_MAILDIRS,
        )
    operations.files(name="Configuration of Postfix", files=wanted, validate=validation(wanted[2:]))
    operations.service(
        name="Postfix runs it", unit=unit(host), watches=wanted, restarts=restarts(fleet, host)
    )
    if unit(host) != "postfix.service":
        # It does nothing but pass `systemctl reload postfix` on to the instance. Started, not
        # restarted: the instance would go down with it.
        operations.run(
            name="Postfix is asked by its plain name",
            command="systemctl enable --quiet postfix.service\nsystemctl start postfix.service",
            unless="systemctl is-enabled postfix.service && systemctl is-active postfix.service",
        )


def _stage(fleet: Fleet, host: Host) -> Mapping[str, str] | None:
    """The parameters of the stage that the host's own state file says it is in."""
    if host.role is not Role.SENDER:
        return None
    reading = context.host.get_fact(WarmupState)
    if reading is None:
        raise StageError(
            f"{host.name}: could not read its warm-up state, so its pace is not known; "
            "run the deploy again"
        )
    return parameters_in_force(fleet, host, reading)


def _is_scanned(fleet: Fleet, host: Host) -> bool:
    if host.role is Role.SENDER or not fleet.filters.virus.enabled:
        return False
    return clamav.runs_on(fleet, host)


_HAS_MAILDIRS = (
    f'test "$(id -u {VMAIL}):$(id -g {VMAIL})" = {VMAIL_ID}:{VMAIL_ID} && '
    f'test "$(stat -c %U:%G:%a {MAILDIRS})" = {VMAIL}:{VMAIL}:700'
)
_MAKE_MAILDIRS = f"""getent group {VMAIL} >/dev/null || groupadd --gid {VMAIL_ID} {VMAIL}
getent passwd {VMAIL} >/dev/null || useradd --uid {VMAIL_ID} --gid {VMAIL_ID} \
--home-dir {MAILDIRS} --no-create-home --shell /usr/sbin/nologin --comment 'Maildirs' {VMAIL}
[ "$(id -u {VMAIL}):$(id -g {VMAIL})" = {VMAIL_ID}:{VMAIL_ID} ] || \
{{ echo 'user {VMAIL} exists with another number than {VMAIL_ID}: give it that one' >&2; exit 1; }}
install -d -o {VMAIL} -g {VMAIL} {MAILDIRS}
# Five digits: without the setgid bit that /var/mail hands down.
chmod 00700 {MAILDIRS}"""
