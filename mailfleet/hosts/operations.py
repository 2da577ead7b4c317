"""The operations roles are made of.

    from pyinfra.api.deploy import deploy
    from mailfleet.hosts.files import File
    from mailfleet.hosts.operations import files, service
    from mailfleet.hosts.render import render

    def wanted(fleet, host):
        return (File("/etc/unbound/unbound.conf.d/mailfleet.conf",
                     render("etc/unbound/unbound.conf.d/mailfleet.conf.j2", host=host)),)

    @deploy("resolver")
    def resolver(fleet, host):
        config = wanted(fleet, host)
        files(
            name="Configuration of unbound",
            files=config,
            validate='unbound-checkconf "$(staged /etc/unbound/unbound.conf.d/mailfleet.conf)"',
        )
        service(name="unbound runs it", unit="unbound.service", watches=config)

Rules: always give `name=`, and the same one on every host. Call operations from a line of their
own; pyinfra tells them apart by their line numbers. Each of them reads its state with one
command and, when nothing differs, does nothing.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence

from pyinfra import context
from pyinfra.api.command import StringCommand
from pyinfra.api.operation import operation

from mailfleet.hosts import changes, scripts
from mailfleet.hosts.facts import (
    FileState,
    FileStates,
    FileTexts,
    Packages,
    Service,
    Succeeds,
)
from mailfleet.hosts.files import File
from mailfleet.hosts.units import Loaded, start, stop

Commands = Generator[StringCommand, None, None]


@operation()
def files(
    files: Iterable[File], absent: Sequence[str] = (), validate: str | None = None
) -> Commands:
    """Bring files to a host, all of them in one command, none of them half.

    + files: what to have; parent directories that are missing are made (0755 root)
    + absent: paths that must not exist
    + validate: shell lines (`set -e`, output shown when they fail) that judge the new files
      before they become live. In them `$(staged /etc/x)` is the path of the new content of
      /etc/x, or /etc/x itself where it does not change, and `$work` a private directory that
      is removed afterwards, for checkers that want files under certain names.

    The files wait next to their targets, mode 0600; when the checker refuses them they are
    removed and what was live stays.
    """
    wanted = sorted(files, key=lambda file: file.path)
    doubled = {f.path for f in wanted if [g.path for g in wanted].count(f.path) > 1}
    if doubled:
        raise ValueError(f"Given twice: {', '.join(sorted(doubled))}")
    paths = [file.path for file in wanted]
    staged = [file.staged for file in wanted]
    states = context.host.get_fact(FileStates, paths=[*paths, *staged, *absent])
    if states is None:
        yield _unread("the files")
        return
    differing = [file for file in wanted if not _same(states.get(file.path), file)]
    unwanted = [path for path in absent if path in states]
    leftovers = [path for path in staged if path in states]
    if not (differing or unwanted or leftovers):
        return
    _announce_files(differing, unwanted, states)
    script = scripts.install_files(differing, unwanted, leftovers, validate)
    if differing:
        yield StringCommand(script, _stdin=scripts.payload(differing))
    else:
        yield StringCommand(script)


@operation()
def service(
    unit: str,
    watches: Iterable[File] = (),
    restarts: Iterable[File] = (),
    reload: bool = True,
    enabled: bool = True,
) -> Commands:
    """Have a systemd unit run the configuration that is on disk.

    + watches: the files it reads; it is reloaded (or restarted, with `reload=False`) when what
      it runs was loaded from other contents
    + restarts: files for which a reload is not enough, such as its unit file
    + enabled: False stops and disables it

    What a unit runs is known from a stamp in /run/mailfleet, which ends with the boot as the
    running state does; without a stamp, a unit that was started after its files last changed is
    taken to run them. So an interrupted run is mended by the next.
    """
    wanted = Loaded(tuple(watches), tuple(restarts))
    state = context.host.get_fact(Service, unit=unit, paths=wanted.paths)
    if state is None:
        yield _unread(f"the unit {unit}")
        return
    verbs = start(state, wanted, reload) if enabled else stop(state)
    if not verbs:
        return
    changes.announce("service", unit, ", ".join(verbs))
    yield StringCommand(scripts.apply_service(unit, verbs, enabled), _stdin=wanted.stamp)


@operation()
def packages(names: Sequence[str], debconf: Sequence[str] = ()) -> Commands:
    """Install Debian packages, services held back until they are configured.

    + names: packages of the release's archive; `a | b` is satisfied by either, or by whatever
      provides b, and otherwise installs a
    + debconf: answers for debconf-set-selections(1), such as
      "postfix postfix/main_mailer_type select No configuration"
    """
    choices = [alternatives(name) for name in sorted(set(names))]
    state = context.host.get_fact(
        Packages,
        names=[name for each in choices for name in each],
        provided=[name for each in choices for name in each[1:]],
    )
    if state is None:
        yield _unread("the packages")
        return
    missing = [each[0] for each in choices if state.installed.isdisjoint(each)]
    if not missing and not state.held_back:
        return
    for name in missing:
        changes.announce("package", name, "install")
    yield StringCommand(scripts.install_packages(missing, debconf))


@operation()
def run(command: str, unless: str, stdin: str | None = None) -> Commands:
    """Run shell lines unless a test says that their work is done.

    + command: POSIX sh, run with `set -e`
    + unless: a shell command that exits with 0 when there is nothing to do
    + stdin: what the command reads; secrets come this way, never in the command
    """
    done = context.host.get_fact(Succeeds, test=unless)
    if done is None:
        yield _unread("what is to be run")
        return
    if done:
        return
    changes.announce("command", operation_name(), "run")
    line = f"set -e\n{command}"
    yield StringCommand(line) if stdin is None else StringCommand(line, _stdin=stdin)


def _same(state: FileState | None, file: File) -> bool:
    return (
        state is not None
        and state.regular
        and state.sha256 == file.sha256
        and state.mode == int(file.mode, 8)
        and (state.user, state.group) == (file.user, file.group)
    )


def _unread(what: str) -> StringCommand:
    """A command that fails: a read that failed is an error, never an empty world."""
    return StringCommand(f"echo 'could not read the state of {what}' >&2; exit 1")


def alternatives(name: str) -> list[str]:
    """The packages of `a | b`, as in a Depends field (Debian policy 7.1)."""
    return [each.strip() for each in name.split("|")]


def operation_name() -> str:
    """The name of the operation that is being looked at, with its role: `tls | Certificate`."""
    current = context.host.current_op_hash
    names = context.state.get_op_meta(current).names if current else ()
    return min(names, default="")


def _announce_files(
    differing: Sequence[File], unwanted: Sequence[str], states: dict[str, FileState]
) -> None:
    if not changes.wanted():
        return
    shown = [f.path for f in differing if not f.secret and f.path in states]
    diffs = not context.state.is_executing and shown
    texts = (context.host.get_fact(FileTexts, paths=shown) if diffs else None) or {}
    for file in differing:
        verb = "change" if file.path in states else "create"
        old = texts.get(file.path, None if file.path in states else "")
        lines = changes.diff(file.path, old, file.content) if old is not None else ()
        changes.announce("file", file.path, verb, () if file.secret else lines)
    for path in unwanted:
        changes.announce("file", path, "remove")
