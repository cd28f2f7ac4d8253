"""An ACME authority (RFC 8555) for tests, which does what it is told: it refuses, stalls, lies and breaks off at any step.

    async with AcmeStub(clock).running() as stub:
        stub.plan("newOrder", problem(429, "rateLimited", retry_after="3600"))
        ...                                   # Authority(stub.directory)
        assert stub.steps() == ["directory", "newNonce", "newAccount", "newOrder"]

Where nothing is planned it behaves: it checks signatures, nonces, URLs and keys, validates challenges at `http_port` and
`tls_port` of 127.0.0.1 (or believes, with `validating=False`), and issues certificates from a CA key of its own. Its log has
every request, with the time of the clock that it was given.
"""

import asyncio
import hashlib
import hmac
import itertools
import json
import secrets
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import josepy
from acme import jws
from aiohttp import web
from cryptography import x509

from edgeproxy.clock import Clock
from edgeproxy.tls.acme.tls_alpn import sni_of
from tests.support.acme_issuing import IssuingAuthority
from tests.support.web_app import listening

Answer = Callable[[web.Request], web.Response]
_KEY = web.RequestKey("key", josepy.JWK)
_ACCOUNT = web.RequestKey("account", josepy.JWK)
TYPES = ("http-01", "tls-alpn-01", "dns-01")
PREFIX = "urn:ietf:params:acme:error:"


def problem(status: int, kind: str, detail: str = "planned", *, retry_after: str | None = None, **more: object) -> Answer:
    """A problem document (RFC 7807); `more` are other members."""
    body = {"type": PREFIX + kind, "detail": detail, "status": status, **more}
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return lambda _: web.json_response(body, status=status, headers=headers, content_type="application/problem+json")


def page(status: int, text: str, *, retry_after: str | None = None) -> Answer:
    """What a proxy in front of an authority says: HTML."""
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return lambda _: web.Response(status=status, text=text, content_type="text/html", headers=headers)


def hang_up(request: web.Request) -> web.Response:
    """Close the connection without an answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def lose_answer(request: web.Request) -> web.Response:
    """Do what was asked, and close the connection before the answer (planned; the stub knows this one)."""
    return hang_up(request)


@dataclass
class Logged:
    """One request, as it came in."""

    at: float
    """Seconds of the stub's clock."""
    step: str
    payload: Any
    """JSON; None for requests that carry nothing."""
    target: str


@dataclass
class Settings:
    """How the authority is, beyond single answers."""

    validating: bool = True
    http_port: int = 0
    tls_port: int = 0
    offered: tuple[str, ...] = TYPES
    unknown_challenge: bool = True
    """Offer a type from the future as well, first."""
    window: tuple[str, str] | None = None
    """Suggested renewal window (RFC 3339); None: no renewal information is offered."""
    explanation: str = ""
    window_retry_after: str | None = None
    profiles: Mapping[str, str] | None = None
    external_accounts: Mapping[str, str] | None = None
    failing: dict[tuple[str, str], dict[str, object]] = field(default_factory=dict)
    """(name, type of challenge) to the problem with which its validation fails."""
    pending_looks: int = 0
    """How often an authorization is looked at before it is settled."""
    processing_looks: int = 0
    """How often an order is looked at before its certificate is there."""
    retry_after: str | None = None
    """What those looks are answered with."""
    lifetime: float = 90 * 86_400.0
    alternates: tuple[str, ...] = ()
    """Where chains other than the first are said to be."""
    spoil: Callable[[IssuingAuthority, x509.CertificateSigningRequest, bytes], bytes] | None = None
    """Makes another chain of the one that should be handed out."""


class AcmeStub:
    """The authority. `settings` may be changed at any time."""

    def __init__(self, clock: Clock, **settings: Any) -> None:
        self.clock = clock
        self.settings = Settings(**settings)
        self.log: list[Logged] = []
        self.authority = IssuingAuthority(clock)
        self.issued: list[x509.Certificate] = []
        self._plans: defaultdict[str, list[Answer | None]] = defaultdict(list)
        self._numbers = itertools.count(1)
        self.nonces: set[str] = set()
        self.accounts: dict[str, josepy.JWK] = {}
        self.orders: dict[str, dict[str, Any]] = {}
        self.authorizations: dict[str, dict[str, Any]] = {}
        self.chains: dict[str, bytes] = {}
        self.after: Callable[[str], None] = lambda step: None
        """Called with each step when it is done, before its answer is sent."""
        self.base = ""

    @property
    def directory(self) -> str:
        return f"{self.base}/directory"

    def plan(self, step: str, *answers: Answer | None) -> None:
        """Answer the next requests of `step` with these, in order; None is an answer as it should be."""
        self._plans[step].extend(answers)

    def bad_nonces(self, step: str, count: int) -> None:
        """Refuse the nonce of the next `count` requests of `step`."""
        self.plan(step, *[problem(400, "badNonce")] * count)

    def steps(self) -> list[str]:
        return [logged.step for logged in self.log]

    def count(self, step: str) -> int:
        return self.steps().count(step)

    def times(self, step: str) -> list[float]:
        """When the requests of `step` came, in seconds since the first request of all."""
        return [round(logged.at - self.log[0].at, 3) for logged in self.log if logged.step == step]

    @asynccontextmanager
    async def running(self) -> AsyncIterator["AcmeStub"]:
        """Listening on a free port of 127.0.0.1."""
        app = web.Application()
        routes: Mapping[str, Callable[[web.Request, Any], Any]] = {
            "newAccount": self._new_account,
            "newOrder": self._new_order,
            "authorization": self._authorization,
            "challenge": self._challenge,
            "order": self._order,
            "finalize": self._finalize,
            "certificate": self._certificate,
            "revoke": self._revoke,
        }
        app.router.add_get("/directory", self._step("directory", self._directory, signed=False))
        app.router.add_head("/newNonce", self._step("newNonce", lambda *_: web.Response(), signed=False))
        app.router.add_get("/renewalInfo/{id}", self._step("renewalInfo", self._renewal_info, signed=False))
        for step, handler in routes.items():
            app.router.add_post(f"/{step}{{id:.*}}", self._step(step, handler))
        async with listening(app) as self.base:
            yield self

    # --- every request

    def _step(
        self, step: str, handler: Callable[[web.Request, Any], Any], *, signed: bool = True
    ) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.Response:
            payload, refused = (await self._opened(request)) if signed else (None, None)
            self.log.append(Logged(self.clock.seconds(), step, payload, request.path))
            planned = self._plans[step].pop(0) if self._plans[step] else None
            planned = planned or refused
            response: web.Response
            if planned is None or planned is lose_answer:
                answered = handler(request, payload)
                response = await answered if asyncio.iscoroutine(answered) else answered
                if planned is not None:
                    response = planned(request)
            else:
                response = planned(request)
            self.after(step)
            nonce = secrets.token_urlsafe(12)
            self.nonces.add(nonce)
            if signed or step == "newNonce":
                response.headers["Replay-Nonce"] = nonce
            return response

        return handle

    async def _opened(self, request: web.Request) -> tuple[Any, Answer | None]:
        """The payload of a signed request, and the refusal that it deserves."""
        signed = jws.JWS.json_loads(await request.text())
        protected = json.loads(signed.signatures[0].protected)
        payload = json.loads(signed.payload) if signed.payload else None
        nonce = protected.pop("nonce")
        fresh = nonce in self.nonces
        self.nonces.discard(nonce)
        if not fresh:
            return payload, problem(400, "badNonce")
        if protected["url"] != self.base + request.path:
            return payload, problem(401, "unauthorized", "signed for another URL")
        if "kid" in protected:
            key = self.accounts.get(protected["kid"])
            if key is None:
                return payload, problem(400, "accountDoesNotExist")
        else:
            key = josepy.JWK.from_json(protected["jwk"])
            request[_KEY] = key
        request[_ACCOUNT] = key
        if not signed.verify(key):
            return payload, problem(401, "unauthorized", "wrong signature")
        return payload, None

    def _url(self, step: str, name: str) -> str:
        return f"{self.base}/{step}/{name}"

    # --- resources

    def _directory(self, _: web.Request, __: Any) -> web.Response:
        meta: dict[str, object] = {"termsOfService": "https://ca.test/terms"}
        if self.settings.profiles is not None:
            meta["profiles"] = self.settings.profiles
        if self.settings.external_accounts is not None:
            meta["externalAccountRequired"] = True
        document: dict[str, object] = {"meta": meta, "revokeCert": f"{self.base}/revoke"}
        document |= {step: f"{self.base}/{step}" for step in ("newNonce", "newAccount", "newOrder")}
        if self.settings.window is not None:
            document["renewalInfo"] = f"{self.base}/renewalInfo"
        return web.json_response(document)

    def _new_account(self, request: web.Request, payload: Any) -> web.Response:
        key = request[_KEY]
        for url, known in self.accounts.items():
            if known == key:
                return web.json_response({"status": "valid"}, headers={"Location": url})
        if self.settings.external_accounts is not None and not self._is_bound(payload.get("externalAccountBinding")):
            return problem(403, "externalAccountRequired")(request)
        if payload.get("termsOfServiceAgreed") is not True:
            return problem(403, "userActionRequired", instance="https://ca.test/terms")(request)
        url = self._url("account", str(next(self._numbers)))
        self.accounts[url] = key
        return web.json_response({"status": "valid"}, status=201, headers={"Location": url})

    def _is_bound(self, binding: Any) -> bool:
        """RFC 8555 section 7.3.4."""
        if not binding:
            return False
        kid = json.loads(josepy.b64decode(binding["protected"]))["kid"]
        secret = (self.settings.external_accounts or {}).get(kid)
        if secret is None:
            return False
        signed = f"{binding['protected']}.{binding['payload']}".encode()
        expected = hmac.new(josepy.b64decode(secret), signed, hashlib.sha256).digest()
        return hmac.compare_digest(josepy.b64decode(binding["signature"]), expected)

    def _new_order(self, request: web.Request, payload: Any) -> web.Response:
        profile = payload.get("profile")
        if profile is not None and profile not in (self.settings.profiles or {}):
            return problem(400, "invalidProfile")(request)
        number = str(next(self._numbers))
        urls = [self._new_authorization(identifier) for identifier in payload["identifiers"]]
        self.orders[number] = {
            "status": "pending",
            "identifiers": payload["identifiers"],
            "authorizations": urls,
            "finalize": self._url("finalize", number),
            "looks": self.settings.processing_looks,
        }
        return self._answer_order(number, status=201)

    def _new_authorization(self, identifier: Mapping[str, str]) -> str:
        number = str(next(self._numbers))
        name = identifier["value"]
        token = secrets.token_urlsafe(24)
        offered = self.settings.offered if not name.startswith("*.") else ("dns-01",)
        challenges = [
            {"type": kind, "url": self._url("challenge", f"{number}.{kind}"), "token": token, "status": "pending"}
            for kind in offered
        ]
        if self.settings.unknown_challenge:
            challenges.insert(0, {"type": "future-01", "url": self._url("challenge", "x"), "riddle": "?", "status": "pending"})
        self.authorizations[number] = {
            "status": "pending",
            "identifier": {"type": identifier["type"], "value": name.removeprefix("*.")},
            "challenges": challenges,
            "looks": self.settings.pending_looks,
        }
        if name.startswith("*."):
            self.authorizations[number]["wildcard"] = True
        return self._url("authorization", number)

    def _authorization(self, request: web.Request, _: Any) -> web.Response:
        authorization = self.authorizations[_id(request)]
        shown = {name: value for name, value in authorization.items() if name not in ("looks", "verdict")}
        verdict = authorization.get("verdict")
        if verdict is not None:
            if authorization["looks"] > 0:
                authorization["looks"] -= 1
                return self._later(shown)
            authorization.update(verdict)
            shown.update(verdict)
        return web.json_response(shown)

    async def _challenge(self, request: web.Request, payload: Any) -> web.Response:
        if payload != {}:
            return problem(400, "malformed", "a challenge is answered with {}")(request)
        number, _, kind = _id(request).partition(".")
        authorization = self.authorizations[number]
        if "verdict" in authorization:
            return problem(400, "malformed", "answered before")(request)
        challenge = next(each for each in authorization["challenges"] if each["type"] == kind)
        name = authorization["identifier"]["value"]
        error = self.settings.failing.get((name, kind))
        if error is None and self.settings.validating:
            error = await self._validate(kind, name, challenge["token"], request[_ACCOUNT])
        challenges = [
            {**each, **({"error": error} if error and each is challenge else {})} for each in authorization["challenges"]
        ]
        authorization["verdict"] = {"status": "invalid" if error else "valid", "challenges": challenges}
        return web.json_response({**challenge, "status": "processing"})

    async def _validate(self, kind: str, name: str, token: str, key: josepy.JWK) -> dict[str, object] | None:
        """Look for the answer to a challenge; the problem with it, or None."""
        expected = f"{token}.{josepy.b64encode(key.thumbprint()).decode()}"
        try:
            if kind == "http-01":
                url = f"http://127.0.0.1:{self.settings.http_port}/.well-known/acme-challenge/{token}"
                async with aiohttp.ClientSession() as session, session.get(url, headers={"Host": name}) as response:
                    found = (await response.text()).strip()
            elif kind == "tls-alpn-01":
                found = await self._look_at_certificate(name, expected)
            else:
                return {"type": PREFIX + "dns", "detail": f"this authority sees no TXT record of {name}"}
        except (OSError, aiohttp.ClientError) as error:
            return {"type": PREFIX + "connection", "detail": str(error)}
        if found != expected:
            return {"type": PREFIX + "unauthorized", "detail": f"{name} says {found[:40]}"}
        return None

    async def _look_at_certificate(self, name: str, expected: str) -> str:
        """`expected`, where the certificate proves it (RFC 8737 section 3)."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["acme-tls/1"])
        _, writer = await asyncio.open_connection("127.0.0.1", self.settings.tls_port, ssl=context, server_hostname=sni_of(name))
        try:
            tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
            if tls.selected_alpn_protocol() != "acme-tls/1":
                return "no acme-tls/1"
            certificate = x509.load_der_x509_certificate(tls.getpeercert(True) or b"")
        finally:
            writer.close()
        oid = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")
        found = certificate.extensions.get_extension_for_oid(oid)
        assert isinstance(found.value, x509.UnrecognizedExtension)
        proved = found.critical and found.value.value == b"\x04\x20" + hashlib.sha256(expected.encode()).digest()
        return expected if proved else "another certificate"

    def _order(self, request: web.Request, _: Any) -> web.Response:
        number = _id(request)
        order = self.orders[number]
        if order["status"] == "processing":
            if order["looks"] > 0:
                order["looks"] -= 1
                return self._later(self._shown(order), Location=self._url("order", number))
            order["status"] = "valid"
            order["certificate"] = self._url("certificate", number)
        return self._answer_order(number)

    def _finalize(self, request: web.Request, payload: Any) -> web.Response:
        number = _id(request)
        order = self.orders[number]
        self._refresh(order)
        if order["status"] != "ready":
            return problem(403, "orderNotReady", f"the order is {order['status']}")(request)
        csr = x509.load_der_x509_csr(josepy.b64decode(payload["csr"]))
        chain = self.authority.issue(csr, self.settings.lifetime)
        self.issued.append(x509.load_pem_x509_certificates(chain)[0])
        if self.settings.spoil is not None:
            chain = self.settings.spoil(self.authority, csr, chain)
        self.chains[number] = chain
        order["status"] = "processing"
        return self._later(self._shown(order), Location=self._url("order", number))

    def _certificate(self, request: web.Request, _: Any) -> web.Response:
        response = web.Response(body=self.chains[_id(request)], content_type="application/pem-certificate-chain")
        for url in self.settings.alternates:
            response.headers.add("Link", f'<{url}>;rel="alternate"')
        return response

    def _revoke(self, _: web.Request, __: Any) -> web.Response:
        return web.Response()

    def _renewal_info(self, request: web.Request, _: Any) -> web.Response:
        start, end = self.settings.window or ("", "")
        document = {"suggestedWindow": {"start": start, "end": end}}
        retry_after = self.settings.window_retry_after
        return web.json_response(
            document | ({"explanationURL": self.settings.explanation} if self.settings.explanation else {}),
            headers={} if retry_after is None else {"Retry-After": retry_after},
        )

    # --- what resources share

    def _refresh(self, order: dict[str, Any]) -> None:
        states = {self.authorizations[url.rpartition("/")[2]]["status"] for url in order["authorizations"]}
        if order["status"] == "pending":
            order["status"] = "invalid" if "invalid" in states else "ready" if states == {"valid"} else "pending"

    def _shown(self, order: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in order.items() if name != "looks"}

    def _answer_order(self, number: str, *, status: int = 200) -> web.Response:
        order = self.orders[number]
        self._refresh(order)
        return web.json_response(self._shown(order), status=status, headers={"Location": self._url("order", number)})

    def _later(self, document: Mapping[str, Any], **headers: str) -> web.Response:
        if self.settings.retry_after is not None:
            headers["Retry-After"] = self.settings.retry_after
        return web.json_response(document, headers=headers)


def _id(request: web.Request) -> str:
    return request.match_info["id"].removeprefix("/")
