"""The table of docs/injection.md, a test for each of its lines, and what lies between them."""

import pytest

from edgeproxy.inject.csp import Amended, Change, amend, origin_of
from edgeproxy.inject.reasons import Skip
from edgeproxy.wire.fields import Fields

SITE = "https://www.example.org"
UI = f"{SITE}/.edge/ui/"
SW = f"{SITE}/.edge/sw.js"


def amended(policy: str, *, name: str = "Content-Security-Policy", respect: bool = False) -> Amended:
    return amend(Fields(((name, policy), ("X", "y"))), SITE, "respect" if respect else "extend")


def written(policy: str) -> str:
    """The amended policy; "-" and the reason when nothing is injected; with the nonce of the tag in front, when it has one."""
    found = amended(policy)
    if found.skip is not None:
        assert found.fields.get("content-security-policy") == policy, "what is skipped is not touched"
        return f"-{found.skip}"
    assert found.fields.get("x") == "y"
    nonce = f"[{found.nonce}] " if found.nonce else ""
    return nonce + (found.fields.get("content-security-policy") or "")


AS_IT_IS = [
    "default-src 'self'",
    "script-src 'self'",
    "script-src 'self' https://cdn.example",
    f"script-src {UI}; worker-src {SW}",
    f"script-src {SITE}",
    "script-src https:",
    "script-src *",
    "img-src 'none'; style-src 'unsafe-inline'",
    "upgrade-insecure-requests",
    "connect-src 'none'",
    "default-src 'none'; script-src 'self'; connect-src 'none'",
    "script-src 'self'; require-trusted-types-for 'script'",
    "script-src 'self'; trusted-types *",
    "script-src 'self'; trusted-types edge-sw",
    "sandbox allow-scripts allow-same-origin allow-forms",
    "",
    " ; ;",
]


@pytest.mark.parametrize("policy", AS_IT_IS)
def test_a_policy_that_allows_all_is_left_byte_for_byte(policy: str) -> None:
    found = amended(policy)
    assert found == Amended(found.fields)
    assert found.fields.get("content-security-policy") == policy
    assert amended(policy, respect=True) == found


def test_no_policy_is_nothing_to_do() -> None:
    assert amend(Fields((("X", "y"),)), SITE, "respect") == Amended(Fields((("X", "y"),)))


TABLE = [
    # 'nonce-X' only: the script by its nonce, the worker by its URL
    ("script-src 'nonce-X1'", f"[X1] script-src 'nonce-X1'; worker-src {SW}"),
    (
        "default-src 'self'; script-src 'nonce-X1' 'unsafe-eval'",
        f"[X1] default-src 'self'; script-src 'nonce-X1' 'unsafe-eval'; worker-src {SW}",
    ),
    # 'nonce-X' 'strict-dynamic': the nonce alone
    (
        "script-src 'nonce-X1' 'strict-dynamic' https: 'unsafe-inline'",
        "[X1] script-src 'nonce-X1' 'strict-dynamic' https: 'unsafe-inline'",
    ),
    ("default-src 'nonce-X1' 'strict-dynamic'", "[X1] default-src 'nonce-X1' 'strict-dynamic'"),
    # hashes only
    ("script-src 'sha256-AAAA='", f"script-src 'sha256-AAAA=' {UI}; worker-src {SW}"),
    ("script-src 'sha256-AAAA=' 'strict-dynamic'", "-csp_strict_dynamic"),
    # hosts only, 'unsafe-inline' only, default-src 'none'
    ("script-src https://cdn.example", f"script-src https://cdn.example {UI}; worker-src https://cdn.example {SW}"),
    ("script-src 'unsafe-inline'", f"script-src 'unsafe-inline' {UI}; worker-src {SW}"),
    ("default-src 'none'", f"default-src 'none'; script-src {UI}; worker-src {SW}"),
    ("default-src 'none'; img-src 'self'", f"default-src 'none'; img-src 'self'; script-src {UI}; worker-src {SW}"),
    ("script-src 'none'", f"script-src {UI}; worker-src {SW}"),
    ("script-src", f"script-src {UI}; worker-src {SW}"),
    (
        "default-src https://cdn.example 'unsafe-inline'",
        f"default-src https://cdn.example 'unsafe-inline'; script-src https://cdn.example 'unsafe-inline' {UI}; "
        f"worker-src https://cdn.example {SW}",
    ),
    # only the very file is listed: what it loads later would not pass
    (f"script-src {UI}register.js", f"script-src {UI}register.js {UI}; worker-src {UI}register.js {SW}"),
    # workers
    ("worker-src 'none'", "-csp_worker_none"),
    ("script-src 'self'; worker-src 'NONE'", "-csp_worker_none"),
    ("script-src 'self'; worker-src", "-csp_worker_none"),
    ("script-src 'self'; worker-src blob:", f"script-src 'self'; worker-src blob: {SW}"),
    (
        "script-src 'nonce-X1' 'strict-dynamic'; worker-src blob:",
        f"[X1] script-src 'nonce-X1' 'strict-dynamic'; worker-src blob: {SW}",
    ),
    (
        "script-src 'self'; child-src https://frames.example",
        f"script-src 'self'; child-src https://frames.example; worker-src https://frames.example {SW}",
    ),
    ("script-src 'self'; child-src 'none'", f"script-src 'self'; child-src 'none'; worker-src {SW}"),
    ("script-src 'nonce-X1' blob: 'self'", "script-src 'nonce-X1' blob: 'self'"),
    ("script-src 'nonce-X1' blob:", f"[X1] script-src 'nonce-X1' blob:; worker-src blob: {SW}"),
    ("script-src-elem https://cdn.example; script-src 'self'", f"script-src-elem https://cdn.example {UI}; script-src 'self'"),
    (
        "script-src-elem 'nonce-X1'; script-src 'unsafe-eval'",
        f"[X1] script-src-elem 'nonce-X1'; script-src 'unsafe-eval'; worker-src {SW}",
    ),
    # Trusted Types
    ("require-trusted-types-for 'script'; trusted-types a b", "require-trusted-types-for 'script'; trusted-types a b edge-sw"),
    ("require-trusted-types-for 'script'; trusted-types 'none'", "-csp_trusted_types_none"),
    ("require-trusted-types-for 'script'; trusted-types", "-csp_trusted_types_none"),
    ("trusted-types a 'allow-duplicates'", "trusted-types a 'allow-duplicates' edge-sw"),
    # sandbox
    ("sandbox", "-csp_sandbox"),
    ("sandbox allow-scripts", "-csp_sandbox"),
    ("sandbox allow-same-origin", "-csp_sandbox"),
    # two policies, each by itself
    ("script-src 'self', default-src 'none'", f"script-src 'self', default-src 'none'; script-src {UI}; worker-src {SW}"),
    (
        "script-src 'nonce-A', script-src 'nonce-B'",
        f"[A] script-src 'nonce-A'; worker-src {SW}, script-src 'nonce-B' {UI}; worker-src {SW}",
    ),
    ("script-src 'nonce-A', script-src 'nonce-B' 'strict-dynamic'", "-csp_strict_dynamic"),
    ("script-src 'self', worker-src 'none'", "-csp_worker_none"),
    # of two directives of one name the first counts; names in any case; spaces as they come
    ("Script-Src 'self'; script-src 'none'", "Script-Src 'self'; script-src 'none'"),
    ("script-src 'none'; script-src 'self'", f"script-src {UI}; script-src 'self'; worker-src {SW}"),
    (
        "  SCRIPT-SRC\thttps://a.example ;;report-uri /r ",
        f"SCRIPT-SRC https://a.example {UI}; report-uri /r; worker-src https://a.example {SW}",
    ),
    # a nonce that cannot be written into a tag is none
    ("script-src 'nonce-a\"onload=x'", f"script-src 'nonce-a\"onload=x' {UI}; worker-src {SW}"),
    (f"script-src 'nonce-{'a' * 120}'", f"script-src 'nonce-{'a' * 120}' {UI}; worker-src {SW}"),
]


@pytest.mark.parametrize(("policy", "expected"), TABLE)
def test_the_table(policy: str, expected: str) -> None:
    assert written(policy) == expected


def test_what_was_amended_once_is_left_alone() -> None:
    for policy, expected in TABLE:
        if expected.startswith("-"):
            continue
        once = amended(policy).fields.get("content-security-policy") or ""
        assert amended(once).fields.get("content-security-policy") == once


def test_nothing_is_allowed_that_was_not_but_our_two_places() -> None:
    for policy, expected in TABLE:
        if expected.startswith("-"):
            continue
        before, after = set(policy.replace(",", " ").split()), set(expected.replace(";", " ").replace(",", " ").split())
        new = {word for word in after - before if "://" in word or word.startswith("'")}
        assert {word.rstrip(";") for word in new} - {word.rstrip(";") for word in before} <= {UI, SW}


def test_a_policy_that_only_reports_is_amended_alike_so_that_nothing_is_reported() -> None:
    name = "Content-Security-Policy-Report-Only"
    found = amended("script-src https://cdn.example", name=name)
    assert found.fields.get(name.lower()) == f"script-src https://cdn.example {UI}; worker-src https://cdn.example {SW}"
    assert found.changes == (Change.SCRIPT, Change.NEW_WORKER)
    assert amended("worker-src 'none'", name=name).skip is Skip.CSP_WORKER
    assert amended("sandbox", name=name).skip is None, "a policy that reports sandboxes nothing"


def test_two_field_lines_are_amended_each_by_itself() -> None:
    fields = Fields((("Content-Security-Policy", "script-src 'self'"), ("content-security-policy", "script-src a.example")))
    found = amend(fields, SITE, "extend")
    assert found.fields.lines == (
        ("Content-Security-Policy", "script-src 'self'"),
        ("content-security-policy", f"script-src a.example {UI}; worker-src a.example {SW}"),
    )


CHANGES = [
    ("script-src 'nonce-X'", (Change.NONCE, Change.NEW_WORKER)),
    ("default-src 'none'", (Change.NEW_SCRIPT, Change.NEW_WORKER)),
    ("script-src 'self'; worker-src blob:", (Change.WORKER,)),
    ("script-src 'self'; trusted-types a", (Change.TYPES,)),
]


@pytest.mark.parametrize(("policy", "changes"), CHANGES)
def test_every_change_has_a_name(policy: str, changes: tuple[Change, ...]) -> None:
    assert amended(policy).changes == changes


def test_a_site_that_respects_policies_changes_none() -> None:
    assert amended("script-src 'nonce-X'", respect=True).skip is Skip.CSP_RESPECTED
    assert amended("default-src 'none'", respect=True).skip is Skip.CSP_RESPECTED
    copied = amended("script-src 'nonce-X' 'strict-dynamic'", respect=True)
    assert (copied.nonce, copied.skip, copied.changes) == ("X", None, (Change.NONCE,))
    assert copied.fields.get("content-security-policy") == "script-src 'nonce-X' 'strict-dynamic'"


def test_origins_keep_their_ports() -> None:
    assert origin_of("http://localhost:8080/a/b?c") == "http://localhost:8080"
    assert origin_of("https://www.example.org/") == SITE
    found = amend(Fields((("Content-Security-Policy", "default-src 'none'"),)), "http://localhost:8080", "extend")
    assert found.fields.get("content-security-policy") == (
        "default-src 'none'; script-src http://localhost:8080/.edge/ui/; worker-src http://localhost:8080/.edge/sw.js"
    )
