"""What is given out for serving: one of an authority, a self-signed one, or a placeholder with the parts that are there.

Owns: `Entry.shown` and `Entry.parts`, and telling whoever serves of a change. Must not decide which certificate is the best.
"""

import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from edgeproxy.errors import StoreError
from edgeproxy.tls.certificate import Certificate
from edgeproxy.tls.entries import Entry
from edgeproxy.tls.health import Served
from edgeproxy.tls.self_signed import SelfSigned
from edgeproxy.tls.states import Event

log = logging.getLogger("edgeproxy.tls.keeper")


class Display:
    """Gives out certificates, each once."""

    def __init__(
        self,
        local: SelfSigned,
        changed: Callable[[Certificate], None],
        spawn: Callable[[Coroutine[Any, Any, None], str], object],
    ) -> None:
        self._local = local
        self._changed = changed
        self._spawn = spawn

    def show(self, entry: Entry, certificate: Certificate) -> None:
        """Serve `certificate` for `entry` from now on."""
        if entry.shown == certificate:
            return
        entry.shown, entry.parts = certificate, ()
        self._changed(certificate)

    def show_own(self, entry: Entry, certificate: Certificate) -> None:
        """A self-signed one: to be served at once, and on disk soon."""
        if entry.shown == certificate:
            return
        if entry.is_local:
            entry.move(Event.SIGN)
        self.show(entry, certificate)
        self._spawn(self._keep_own(certificate), "certificates-self-signed")

    def show_placeholder(self, entry: Entry, parts: list[Certificate]) -> None:
        """Until there is one for all of the names: the best for each, and a self-signed one for those that have none."""
        self.show_own(entry, self._local.get(entry.names))
        if entry.parts != tuple(parts):
            entry.parts = tuple(parts)
            for part in parts:
                self._changed(part)

    async def _keep_own(self, certificate: Certificate) -> None:
        try:
            await self._local.keep(certificate)
        except StoreError as error:
            log.warning("a self-signed certificate could not be stored: %s", error)


def serving(entries: Iterable[Entry]) -> dict[str, Certificate]:
    """What is served, by name."""
    shown: dict[str, Certificate] = {}
    for entry in entries:
        for name in entry.names:
            part = next((one for one in entry.parts if one.covers((name,))), entry.shown)
            if part is not None:
                shown[name] = part
    return shown


def served(entries: Iterable[Entry]) -> list[Served]:
    """What is served, each certificate once for each entry; a placeholder that parts hide for all of its names is not served."""
    found = []
    for entry in entries:
        is_hidden = bool(entry.parts) and all(any(part.covers((name,)) for part in entry.parts) for name in entry.names)
        shown = entry.parts if entry.shown is None or is_hidden else (entry.shown, *entry.parts)
        found += [Served(one, is_placeholder=entry.held is None and not entry.is_local) for one in shown]
    return found
