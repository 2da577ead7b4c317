"""The kinds of values that a fleet file holds.

The titles are the "accepted" of error messages: see `mailfleet.fleet.schema`.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"

# A domain or host name in lower case ASCII (A-labels, RFC 5890), without the trailing dot.
DomainName = Annotated[
    str,
    StringConstraints(
        max_length=253, pattern=rf"^([a-z0-9_]([a-z0-9_-]{{0,61}}[a-z0-9])?\.)*{_LABEL}$"
    ),
    Field(title="a domain name in lower case, such as example.com"),
]
# A mailbox as in RFC 5321, without quoted local parts.
MailAddress = Annotated[
    str,
    StringConstraints(max_length=254, pattern=rf"^{ATEXT}(\.{ATEXT})*@({_LABEL}\.)+{_LABEL}$"),
    Field(title="a mail address, such as postmaster@example.com"),
]
SECRET_PATTERN = r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:\S.*|command:\S.*)$"


def _secret_reference(value: object) -> object:
    """Refuse anything else without repeating it: it may be the secret itself."""
    if not isinstance(value, str) or not re.fullmatch(SECRET_PATTERN, value):
        raise PydanticCustomError("secret_in_clear", "not a reference to a secret")
    return value


# Where a secret is, never the secret itself.
SecretRef = Annotated[
    str,
    BeforeValidator(_secret_reference),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": SECRET_PATTERN,
            "title": "a reference to a secret: env:NAME, file:PATH or command:COMMAND",
        }
    ),
]
Percent = Annotated[int, Field(ge=1, le=100)]
DmarcPolicy = Literal["none", "quarantine", "reject"]


class Model(BaseModel):
    """Frozen, and strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")
