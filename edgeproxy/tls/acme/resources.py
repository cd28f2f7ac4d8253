"""The resources of an authority (RFC 8555 section 7.1), read from its JSON into values. Pure.

Owns: which fields are read, and their bounds. What is unknown is left alone (fields, types of challenges); what is needed and
missing or of another shape raises IssuanceFailed "badAnswer", with the field's name.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar, cast

from edgeproxy.errors import IssuanceFailed
from edgeproxy.tls.acme.problems import Problem, clean, own_failure, read_problem

TOKEN = re.compile(r"[A-Za-z0-9_-]{1,128}\Z")
_URL = re.compile(r"https?://[!-~]{1,2000}\Z")
_LONGEST_LIST = 200

S = TypeVar("S", bound=StrEnum)


class OrderStatus(StrEnum):
    """RFC 8555 section 7.1.6."""

    PENDING = "pending"
    READY = "ready"
    PROCESSING = "processing"
    VALID = "valid"
    INVALID = "invalid"


class AuthorizationStatus(StrEnum):
    """RFC 8555 section 7.1.6."""

    PENDING = "pending"
    VALID = "valid"
    INVALID = "invalid"
    DEACTIVATED = "deactivated"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class AcmeDirectory:
    """Where an authority wants its requests, and what it offers."""

    new_nonce: str
    new_account: str
    new_order: str
    revoke: str
    renewal_info: str
    """Empty where the authority has no renewal information (RFC 9773)."""
    external_account_required: bool
    profiles: Mapping[str, str] | None
    """Name to description; None where the authority knows no profiles."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to prove control of a name. `type` may be one that we do not know."""

    type: str
    url: str
    token: str
    error: Problem | None


@dataclass(frozen=True, slots=True)
class Authorization:
    """What an authority knows about our control of one name."""

    name: str
    """As it was asked for: with `*.` where the authorization is for a wildcard."""
    status: AuthorizationStatus
    challenges: tuple[Challenge, ...]

    def problem(self) -> Problem:
        """Why it is not valid, in the authority's words where it has any."""
        for challenge in self.challenges:
            if challenge.error is not None:
                return challenge.error
        return Problem("unauthorized", f"the authorization is {self.status.value}")


@dataclass(frozen=True, slots=True)
class Order:
    """What an authority does about a certificate."""

    status: OrderStatus
    authorizations: tuple[str, ...]
    finalize: str
    certificate: str
    error: Problem | None


def read_directory(document: Mapping[str, object]) -> AcmeDirectory:
    """RFC 8555 section 7.1.1. A document without its three main fields is no directory: IssuanceFailed "notAnAuthority"."""
    try:
        nonce, account, order = (_url(document, field) for field in ("newNonce", "newAccount", "newOrder"))
    except IssuanceFailed as failure:
        raise own_failure("notAnAuthority", f"no ACME directory: {failure.detail}") from failure
    meta = _mapping(document.get("meta"))
    profiles = meta.get("profiles")
    return AcmeDirectory(
        new_nonce=nonce,
        new_account=account,
        new_order=order,
        revoke=_url(document, "revokeCert", needed=False),
        renewal_info=_url(document, "renewalInfo", needed=False),
        external_account_required=meta.get("externalAccountRequired") is True,
        profiles={str(name): clean(str(what)) for name, what in profiles.items()} if isinstance(profiles, dict) else None,
    )


def read_order(document: Mapping[str, object]) -> Order:
    """RFC 8555 section 7.1.3."""
    listed = document.get("authorizations")
    if not isinstance(listed, list) or len(listed) > _LONGEST_LIST:
        raise own_failure("badAnswer", "order without a list of authorizations")
    return Order(
        status=_status(OrderStatus, document),
        authorizations=tuple(_checked_url("authorizations", each) for each in listed),
        finalize=_url(document, "finalize"),
        certificate=_url(document, "certificate", needed=False),
        error=_problem(document),
    )


def read_authorization(document: Mapping[str, object]) -> Authorization:
    """RFC 8555 section 7.1.4. Challenges without a usable URL and token are left out, as unknown types' may be."""
    name = _mapping(document.get("identifier")).get("value")
    if not isinstance(name, str) or not 0 < len(name) <= 253:
        raise own_failure("badAnswer", "authorization without an identifier")
    listed = document.get("challenges")
    challenges = [_challenge(each) for each in listed[:_LONGEST_LIST]] if isinstance(listed, list) else []
    return Authorization(
        name=("*." if document.get("wildcard") is True and not name.startswith("*.") else "") + name.lower(),
        status=_status(AuthorizationStatus, document),
        challenges=tuple(challenge for challenge in challenges if challenge is not None),
    )


def _challenge(document: object) -> Challenge | None:
    fields = _mapping(document)
    kind, url, token = fields.get("type"), fields.get("url"), fields.get("token")
    if not (isinstance(kind, str) and isinstance(url, str) and isinstance(token, str)):
        return None
    if not (_URL.match(url) and TOKEN.match(token)):
        return None
    return Challenge(kind, url, token, _problem(fields))


def _problem(fields: Mapping[str, object]) -> Problem | None:
    error = fields.get("error")
    return read_problem(cast(Mapping[str, object], error)) if isinstance(error, dict) else None


def _status(kind: type[S], document: Mapping[str, object]) -> S:
    try:
        return kind(str(document.get("status")))
    except ValueError:
        raise own_failure("badAnswer", f"unknown status {document.get('status')!r}") from None


def _mapping(value: object) -> Mapping[str, object]:
    return cast(Mapping[str, object], value) if isinstance(value, dict) else {}


def _url(document: Mapping[str, object], field: str, *, needed: bool = True) -> str:
    value = document.get(field)
    if not needed and not (isinstance(value, str) and _URL.match(value)):
        return ""
    return _checked_url(field, value)


def _checked_url(field: str, value: object) -> str:
    if not isinstance(value, str) or not _URL.match(value):
        raise own_failure("badAnswer", f"{field} is not a URL")
    return value
