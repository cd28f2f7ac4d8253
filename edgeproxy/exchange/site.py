"""One configured site while it runs: its rules for the cache, its way to the origin, and what it counts.

Owns: `Site` and how a host name finds its site. Must not read configuration files; `app` builds sites from them.
"""

from dataclasses import dataclass, field

from edgeproxy.caching.key import KeyRules
from edgeproxy.caching.model import Policy
from edgeproxy.inject.csp import Choice
from edgeproxy.origin.client import OriginClient


@dataclass(frozen=True, slots=True)
class Waiting:
    """How long a failing or slow origin is waited for while a good copy is at hand. Seconds and bytes."""

    stale_after: float = 2.0
    hold_bytes: int = 1 << 20
    """A replacement of up to this size is received whole before it is sent, so that a truncated one can still be replaced."""


@dataclass(frozen=True, slots=True)
class Secure:
    """How a site is served over HTTPS."""

    mark: bytes
    """Of the TLS policy: a connection made under one mark asks for no site of another (RFC 9110 section 15.5.20)."""
    redirect: bool = True
    """Plain HTTP is sent to HTTPS."""
    port: int = 443
    hsts: str | None = None
    """Value of `Strict-Transport-Security` (RFC 6797), where the origin sends none."""

    def location(self, host: str, target: str) -> str:
        """The URL over HTTPS of what was asked for over HTTP."""
        return f"https://{host}{'' if self.port == 443 else f':{self.port}'}{target if target.startswith('/') else '/'}"


@dataclass(frozen=True, slots=True, eq=False)
class Site:
    """Immutable; a reload makes a new one. `name` is the first configured host and the salt of the site's digests."""

    name: str
    hosts: tuple[str, ...]
    policy: Policy
    keys: KeyRules
    origin: OriginClient
    waiting: Waiting = Waiting()
    memory_object: int = 4 << 20
    compress: bool = True
    host_header: str | None = None
    """`Host` sent to the origin; None passes on the client's."""
    trusted_proxies: tuple[str, ...] = ()
    memento: bool = False
    """Earlier versions may be asked for (RFC 7089)."""
    secure: Secure | None = None
    """None where HTTPS is not listened for."""
    publish: bool = True
    """Strangers may read the ledger on its hosts, and its stored content anywhere."""
    csp: Choice = "extend"
    """What is done when a page's policy forbids what is injected into it."""

    @property
    def redirects(self) -> bool:
        """Plain HTTP is sent to HTTPS."""
        return self.secure is not None and self.secure.redirect

    def told_to_stay_secure(self, scheme: str) -> str | None:
        """`Strict-Transport-Security` for an answer over `scheme`."""
        return self.secure.hsts if self.secure is not None and scheme == "https" else None


@dataclass(slots=True)
class Sites:
    """All sites, found by host: exact name, then one-label wildcard, then the site for any host."""

    sites: tuple[Site, ...]
    _exact: dict[str, Site] = field(init=False, default_factory=dict)
    _wildcard: dict[str, Site] = field(init=False, default_factory=dict)
    _any: Site | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        for site in self.sites:
            for host in site.hosts:
                if host == "*":
                    self._any = site
                elif host.startswith("*."):
                    self._wildcard[host[2:].lower()] = site
                else:
                    self._exact[host.lower()] = site

    def may_share(self, scope: str, site: Site) -> bool:
        """Whether a connection that was made for the site called `scope` may be asked for `site`: under one policy, both are."""
        if scope == site.name or site.secure is None:
            return True
        return any(
            other.secure is not None and other.secure.mark == site.secure.mark for other in self.sites if other.name == scope
        )

    def find(self, host: str) -> Site | None:
        """The site that answers for `host` (lower case, without port)."""
        site = self._exact.get(host)
        if site is None and self._wildcard:
            site = self._wildcard.get(host.partition(".")[2])
        return site or self._any
