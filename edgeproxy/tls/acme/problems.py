"""What a certificate authority complains about, in its own words, and what to do then: one table. Pure.

Owns: the reading of problem documents (RFC 7807, RFC 8555 section 6.7) and of what proxies in front of an authority send instead
of one (HTML), and the table from problem type to `Retry`. What an authority says is a stranger's text: bounded and cleaned here,
before it gets into logs, pages and terminals.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import NamedTuple, cast

from edgeproxy.errors import IssuanceFailed, Retry

PREFIX = "urn:ietf:params:acme:error:"
DETAIL_LENGTH = 500
URL_LENGTH = 2_000
_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}\Z")
_URL = re.compile(r"https://[!-;=?-~]{1,1990}")
_TAG = re.compile(r"<(script|style)\b.*?</\1\s*>|<[^>]{0,2000}>", re.DOTALL | re.IGNORECASE)
_SUBPROBLEMS = 20


class Rule(NamedTuple):
    """What a type of problem means for the next attempt."""

    retry: Retry
    other_challenge: bool = False
    """When a validation fails with it: whether another type of challenge may do better."""


RULES: Mapping[str, Rule] = {
    # RFC 8555 section 6.7
    "accountDoesNotExist": Rule(Retry.SOON),  # we registered again and it is still unknown: the authority is in trouble
    "alreadyRevoked": Rule(Retry.OPERATOR),
    "badCSR": Rule(Retry.OTHER_CA),
    "badNonce": Rule(Retry.SOON),  # after ten tries with the nonce of the error itself
    "badPublicKey": Rule(Retry.OTHER_CA),
    "badRevocationReason": Rule(Retry.OPERATOR),
    "badSignatureAlgorithm": Rule(Retry.OTHER_CA),
    "caa": Rule(Retry.OTHER_CA),  # the name's owner says who may issue: this authority may not, another one may
    "compound": Rule(Retry.SOON, True),
    "connection": Rule(Retry.SOON, True),
    "dns": Rule(Retry.SOON, True),
    "externalAccountRequired": Rule(Retry.OPERATOR),
    "incorrectResponse": Rule(Retry.SOON, True),
    "invalidContact": Rule(Retry.OPERATOR),
    "malformed": Rule(Retry.SOON),
    "orderNotReady": Rule(Retry.SOON),
    "rateLimited": Rule(Retry.NOT_BEFORE),
    "rejectedIdentifier": Rule(Retry.OTHER_CA),
    "serverInternal": Rule(Retry.SOON),
    "tls": Rule(Retry.SOON, True),
    "unauthorized": Rule(Retry.OPERATOR, True),
    "unsupportedContact": Rule(Retry.OPERATOR),
    "unsupportedIdentifier": Rule(Retry.OTHER_CA),
    "userActionRequired": Rule(Retry.OPERATOR),
    # RFC 9773 section 7.4, and what older servers call it
    "alreadyReplaced": Rule(Retry.SOON),
    "conflict": Rule(Retry.SOON),
    # draft-aaron-acme-profiles, and what drafts and servers before it called it
    "invalidProfile": Rule(Retry.OPERATOR),
    # ours
    "untrusted": Rule(Retry.OPERATOR),  # the directory's own certificate does not verify: `ca_file`, or an attack
    "notAnAuthority": Rule(Retry.OPERATOR),  # what answers there is no ACME directory
    "badName": Rule(Retry.OPERATOR),
    "noChallenge": Rule(Retry.OPERATOR),  # nothing that we can do is offered
    "badAccount": Rule(Retry.OPERATOR),  # the external account's key cannot be read, the store of accounts cannot be written
    "badCertificate": Rule(Retry.OTHER_CA),  # it issued something else than was asked for
    "badAnswer": Rule(Retry.SOON),
    "present": Rule(Retry.SOON),
    "hook": Rule(Retry.SOON),
    "unreachable": Rule(Retry.SOON),
    "timeout": Rule(Retry.SOON),
    "closed": Rule(Retry.SOON),
}

_UNKNOWN = Rule(Retry.SOON, True)
_BY_STATUS = {401: "unauthorized", 403: "unauthorized", 409: "conflict", 429: "rateLimited"}


@dataclass(frozen=True, slots=True)
class Problem:
    """One complaint, cleaned."""

    type: str
    detail: str = ""
    status: int = 0
    url: str = ""

    @property
    def rule(self) -> Rule:
        return RULES.get(self.type, _UNKNOWN)


@dataclass(frozen=True, slots=True)
class FailedValidation:
    """One name that an authority could not validate by one type of challenge."""

    name: str
    challenge: str
    problem: Problem


def clean(text: str, length: int = DETAIL_LENGTH) -> str:
    """`text` on one line, without control characters and other invisible ones, at most `length` characters."""
    kept = "".join(character if character.isprintable() else " " for character in text[: length * 4])
    return " ".join(kept.split())[:length]


def parse_problem(status: int, body: bytes) -> Problem:
    """What an answer with an error status says; anything that is not a problem document is named by its status."""
    document = _document(body)
    if document is None:
        return Problem(_type_of_status(status), _unformatted(status, body), status)
    return read_problem(document, status)


def read_problem(document: Mapping[str, object], status: int = 0) -> Problem:
    """A problem document that is already an object; `status` is the HTTP status it came with, 0 inside a resource."""
    subproblems = list(_subproblems(document))
    kind = _type(document)
    if kind in ("", "compound") and subproblems:
        kind = subproblems[0].type
    words = [clean(str(document.get("detail") or document.get("title") or "")), *(each.detail for each in subproblems)]
    return Problem(kind or _type_of_status(status), clean("; ".join(filter(None, words))), status, _page(document))


def request_failure(problem: Problem, retry_after: float | None = None) -> IssuanceFailed:
    """The error for an answer to a request; `retry_after` is a Unix time or None."""
    retry = problem.rule.retry
    if "/unpause" in problem.url:
        retry = Retry.OPERATOR  # paused after many failures: only a visit to that page ends it
    elif retry in (Retry.SOON, Retry.NOT_BEFORE):
        retry = Retry.NOT_BEFORE if retry_after is not None else Retry.SOON
    return IssuanceFailed(problem.type, problem.detail, retry=retry, not_before=retry_after, url=problem.url)


def own_failure(kind: str, detail: str = "") -> IssuanceFailed:
    """The error for something that no authority said; `kind` is one of ours in the table."""
    return IssuanceFailed(kind, clean(detail), retry=RULES[kind].retry)


def resource_failure(problem: Problem) -> IssuanceFailed:
    """The error for a complaint inside a resource (a lost order, a failed challenge), where no Retry-After can be."""
    return IssuanceFailed(problem.type, problem.detail, retry=_inside(problem), url=problem.url)


def validation_failure(failures: Sequence[FailedValidation]) -> IssuanceFailed:
    """The error for names that could not be validated: the strictest of them decides about the next attempt."""
    strictest = max((failure.problem for failure in failures), key=lambda problem: _STRICTNESS[_inside(problem)])
    share = max(80, DETAIL_LENGTH // len(failures) - 2)  # so that one long story does not hide the others
    words = "; ".join(
        clean(f"{each.name} ({each.challenge}): {each.problem.type}: {each.problem.detail}", share) for each in failures
    )
    names = tuple(each.name for each in failures)
    return IssuanceFailed(strictest.type, clean(words), retry=_inside(strictest), failed_names=names, url=strictest.url)


_STRICTNESS = {Retry.SOON: 0, Retry.NOT_BEFORE: 1, Retry.OTHER_CA: 2, Retry.OPERATOR: 3}


def _inside(problem: Problem) -> Retry:
    if "/unpause" in problem.url:
        return Retry.OPERATOR
    # Of an account "unauthorized" needs a person; of a challenge it is a wrong answer like any other.
    retry = Retry.SOON if problem.type == "unauthorized" else problem.rule.retry
    return Retry.SOON if retry is Retry.NOT_BEFORE else retry


def _document(body: bytes) -> Mapping[str, object] | None:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return cast(Mapping[str, object], document) if isinstance(document, dict) else None


def _type(document: Mapping[str, object]) -> str:
    kind = str(document.get("type") or "").rpartition(":")[2]
    return kind if _TYPE.match(kind) else ""


def _type_of_status(status: int) -> str:
    if status >= 500:
        return "serverInternal"
    return _BY_STATUS.get(status, "malformed")


def _subproblems(document: Mapping[str, object]) -> Iterator[Problem]:
    """The complaints about single names (RFC 8555 section 6.7.1), each detail beginning with its name."""
    listed = document.get("subproblems")
    for each in listed[:_SUBPROBLEMS] if isinstance(listed, list) else ():
        if isinstance(each, dict):
            identifier = each.get("identifier")
            name = str(identifier.get("value", "")) if isinstance(identifier, dict) else ""
            kind = _type(each) or "malformed"
            words = (clean(name, 253), kind, clean(str(each.get("detail") or "")))
            yield Problem(kind, ": ".join(filter(None, words)))


def _page(document: Mapping[str, object]) -> str:
    """The page that the authority wants somebody to visit: `instance` (RFC 8555 section 7.3.3), or a URL in its words."""
    for field in ("instance", "detail"):
        if found := _URL.search(str(document.get(field) or "")[: DETAIL_LENGTH + URL_LENGTH]):
            return found.group().rstrip(".,;)")
    return ""


def _unformatted(status: int, body: bytes) -> str:
    """Words for an answer that is no problem document: its status, and its text without the mark-up."""
    try:
        phrase = f" {HTTPStatus(status).phrase}"
    except ValueError:
        phrase = ""
    text = clean(_TAG.sub(" ", body[:8_000].decode("utf-8", "replace")), 300)
    return f"HTTP {status}{phrase}" + (f": {text}" if text else "")
