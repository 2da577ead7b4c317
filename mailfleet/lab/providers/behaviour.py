"""What a provider has been told to do: the file `behaviour.json`, and the counting that goes
with it.

The file is the command channel: `mailfleet lab provider` replaces it in one rename, and the
provider looks at it again before every SMTP command it may act on.
"""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError, model_validator

from mailfleet.lab.errors import LabError
from mailfleet.lab.providers.catalogue import Provider
from mailfleet.lab.providers.records import Value
from mailfleet.lab.providers.replies import REPLIES, Reply, Stage, parse

FILE = "behaviour.json"
Action = Literal["accept", "defer", "reject", "throttle", "slow", "complain"]
# aiosmtpd hangs up on a session idle for longer; see server.SESSION_SECONDS.
MAX_DELAY = 540.0

log = logging.getLogger(__name__)


class Rule(Value):
    """One command. The first rule whose scope fits a message is the one that acts on it."""

    id: str = Field(default_factory=lambda: secrets.token_hex(4))
    action: Action
    addresses: tuple[IPv4Network | IPv6Network, ...] = Field(
        default=(), description="Sending addresses it is for; empty: all."
    )
    recipients: tuple[str, ...] = Field(
        default=(), description="Recipients it is for, * and ? as in file names; empty: all."
    )
    count: int | None = Field(default=None, ge=1, description="Act so many times, then no more.")
    every: int = Field(default=1, ge=1, description="Act on each so-manieth message only.")
    words: str | None = Field(default=None, description="A key of replies.REPLIES.")
    reply: str | None = Field(default=None, description="CODE [ENHANCED] TEXT instead of words.")
    stage: Stage | None = Field(default=None, description="The SMTP command to refuse at.")
    limit: int | None = Field(default=None, ge=0, description="throttle: messages a period.")
    period: float = Field(default=60.0, gt=0, description="throttle: seconds.")
    delay: float = Field(default=0.0, ge=0, le=MAX_DELAY, description="slow: seconds.")
    feedback: str | None = Field(
        default=None, description="complain: where to; default abuse@ the signature's d=."
    )

    @model_validator(mode="after")
    def _refusals_fit(self) -> Self:
        if self.words is not None and self.words not in REPLIES:
            raise ValueError(f"words {self.words!r} are none of {', '.join(REPLIES)}")
        reply = parse(self.reply) if self.reply is not None else REPLIES.get(self.words or "")
        expected = {"defer": 4, "throttle": 4, "reject": 5}.get(self.action)
        if reply is not None and expected is not None and reply.code // 100 != expected:
            raise ValueError(f"{self.action} answers with {expected}xx, not {reply.code}")
        if self.action == "throttle" and self.limit is None:
            raise ValueError("throttle needs a limit of messages a period")
        return self

    @property
    def scope(self) -> tuple[frozenset[object], frozenset[str]]:
        """Two rules of the same scope replace each other."""
        return frozenset(self.addresses), frozenset(self.recipients)

    @property
    def refuses(self) -> bool:
        """Whether it keeps a message out, for now or for good."""
        return self.action in {"defer", "reject", "throttle"}

    @property
    def width(self) -> int:
        """How many of the two filters it lacks: narrow rules go before wide ones."""
        return (not self.addresses) + (not self.recipients)


class Behaviour(Value):
    """The whole file."""

    authentication: Literal["recorded", "required"] = "recorded"
    rules: tuple[Rule, ...] = ()

    def with_rule(self, rule: Rule) -> Behaviour:
        """That rule added in place of one of the same scope; accepting everything from everybody
        drops all rules."""
        if rule.action == "accept" and rule.width == 2:
            return self.model_copy(update={"rules": ()})
        others = [other for other in self.rules if other.scope != rule.scope]
        ordered = sorted((rule, *others), key=lambda r: r.width)
        return self.model_copy(update={"rules": tuple(ordered)})


class BadBehaviour(LabError):
    """The file is not a `Behaviour`."""


def load(directory: Path) -> Behaviour:
    """What the provider in `directory` was told; the default when it was told nothing.

    Raises BadBehaviour, naming the file and what is wrong in it.
    """
    path = directory / FILE
    try:
        return Behaviour.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Behaviour()
    except (OSError, ValidationError) as error:
        raise BadBehaviour(
            f"{path} cannot be used: {error}. Write it with `mailfleet lab provider`, or remove it."
        ) from error


def save(directory: Path, behaviour: Behaviour) -> None:
    """Tell the provider in `directory`; it acts on it from the next SMTP command on."""
    path = directory / FILE
    staged = path.with_name(f".{FILE}.{os.getpid()}")
    staged.write_text(behaviour.model_dump_json(indent=2) + "\n")
    staged.replace(path)


class Commands:
    """The running provider's view: the current file, and how often each rule has acted.

    Counts live as long as the process and start anew when a rule is written again.
    """

    def __init__(
        self, directory: Path, provider: Provider, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._directory = directory
        self._provider = provider
        self._clock = clock
        self._stamp: object = None
        self._behaviour = Behaviour()
        self._seen: dict[str, int] = defaultdict(int)
        self._acted: dict[str, int] = defaultdict(int)
        self._accepted: dict[tuple[str, str], deque[float]] = defaultdict(deque)

    @property
    def current(self) -> Behaviour:
        """The file as it is now. A file that cannot be used is logged and changes nothing."""
        try:
            status = (self._directory / FILE).stat()
            stamp: object = (status.st_ino, status.st_mtime_ns, status.st_size)
        except OSError:
            stamp = None
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._behaviour = load(self._directory)
            except BadBehaviour as error:
                log.error("%s", error)
        return self._behaviour

    def decide(self, stage: Stage, address: str, recipients: Sequence[str] = ()) -> Rule | None:
        """The rule that acts on this SMTP command now, counted as having acted; or None."""
        rule = self._first(stage, address, recipients)
        if rule is None or rule.action == "accept" or self.stage_of(rule) != stage:
            return None
        self._seen[rule.id] += 1
        if self._seen[rule.id] % rule.every:
            return None
        if rule.action == "throttle" and self._within(rule, address):
            return None
        self._acted[rule.id] += 1
        return rule

    def reply_of(self, rule: Rule) -> Reply:
        """What a refusing rule says: its own words, or the provider's usual ones."""
        if rule.reply is not None:
            return parse(rule.reply)
        if rule.words is not None:
            return REPLIES[rule.words]
        purpose = "rate"
        if rule.action == "reject":
            purpose = "no-user" if rule.recipients else "block"
        return REPLIES[f"{self._provider.name}-{purpose}"]

    def stage_of(self, rule: Rule) -> Stage:
        """The SMTP command at which a rule acts. Recipients are not known at MAIL yet."""
        if not rule.refuses:
            return "data"
        if rule.stage is not None:
            stage = rule.stage
        elif rule.reply is not None:
            stage = "rcpt" if rule.recipients else "data"
        else:
            stage = self.reply_of(rule).stage
        return "rcpt" if rule.recipients and stage == "mail" else stage

    def _first(self, stage: Stage, address: str, recipients: Sequence[str]) -> Rule | None:
        peer = ip_address(address)
        for rule in self.current.rules:
            if rule.count is not None and self._acted[rule.id] >= rule.count:
                continue
            if rule.addresses and not any(peer in network for network in rule.addresses):
                continue
            if rule.recipients and not any(
                fnmatchcase(recipient.lower(), pattern.lower())
                for recipient in recipients
                for pattern in rule.recipients
            ):
                continue
            return rule
        return None

    def _within(self, rule: Rule, address: str) -> bool:
        """Whether one more message keeps this address within its limit; if so it is counted."""
        now = self._clock()
        times = self._accepted[(rule.id, address)]
        while times and times[0] <= now - rule.period:
            times.popleft()
        if len(times) >= (rule.limit or 0):
            return False
        times.append(now)
        return True
