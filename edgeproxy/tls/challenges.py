"""Answers to an authority's challenges, which any process of this machine can give.

Owns: DATA/tls/challenges. The leader presents; whoever the authority's connection lands on answers. Must not know orders or
authorities.

http/TOKEN                 the key authorization (RFC 8555 section 8.3)
alpn/SNI                   the name and the key authorization, one line each (RFC 8737); SNI is what the authority will send
"""

import asyncio
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Final

from edgeproxy.errors import StartError, StoreError, StoreFull
from edgeproxy.storage.durable import FOLDER_MODE, remove, sync_folder, write_failure, write_synced
from edgeproxy.tls.acme.tls_alpn import make_challenge_certificate, sni_of
from edgeproxy.tls.certificate import canonical_name

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_SNI: Final = re.compile(r"[a-z0-9_-][a-z0-9_.-]{0,252}")
_LONGEST: Final = 2_048
_MOST_CERTIFICATES: Final = 64

Pair = tuple[bytes, bytes]


class Challenges:
    """The challenges of one data folder. `folder` is that of the vault."""

    def __init__(self, folder: Path) -> None:
        self._http = folder / "challenges" / "http"
        self._alpn = folder / "challenges" / "alpn"
        self._tokens: dict[str, bytes] = {}
        """What this process presented itself, by token."""
        self._pairs: dict[tuple[str, str], Pair] = {}
        """Certificates made so far, by name and key authorization."""
        self._number = 0

    def open(self) -> None:
        """Make the folders. Raises StartError."""
        try:
            for folder in (self._http.parent, self._http, self._alpn):
                folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        except OSError as error:
            raise StartError("the folder for challenges cannot be made", error=error.strerror) from error

    async def clear(self) -> None:
        """Remove what a leader that died left behind. For a process that begins to lead: nothing is being validated then."""
        self._tokens.clear()
        await asyncio.to_thread(remove, *self._http.glob("*"), *self._alpn.glob("*"), *self._alpn.glob(".*"))

    # -- presenting -----------------------------------------------------------------------------------------------------------

    async def present_http(self, token: str, key_authorization: str) -> None:
        """Answer `token` from now on, in every process; durable when this returns. Raises `StoreError`."""
        _check(_TOKEN, token)
        content = key_authorization.encode("ascii")
        await asyncio.to_thread(self._write, self._http, token, content)
        self._tokens[token] = content

    async def present_alpn(self, name: str, key_authorization: str) -> None:
        """Answer for `name` (a DNS name or the text of an address) from now on, in every process. Raises `StoreError`."""
        sni = sni_of(canonical_name(name))
        _check(_SNI, sni)
        await asyncio.to_thread(self._write, self._alpn, sni, f"{canonical_name(name)}\n{key_authorization}".encode("ascii"))

    async def withdraw_http(self, token: str) -> None:
        """Answer `token` no longer."""
        _check(_TOKEN, token)
        self._tokens.pop(token, None)
        await asyncio.to_thread(remove, self._http / token)

    async def withdraw_alpn(self, name: str) -> None:
        """Answer for `name` no longer."""
        sni = sni_of(canonical_name(name))
        _check(_SNI, sni)
        await asyncio.to_thread(remove, self._alpn / sni)

    # -- answering ------------------------------------------------------------------------------------------------------------

    def http_answer(self, token: str) -> bytes | None:
        """The key authorization for `token`; None for one that nobody presented, or that is no token."""
        if not _TOKEN.fullmatch(token):
            return None
        return self._tokens.get(token) or _read(self._http / token)

    def alpn_certificate(self, name: str) -> Pair | None:
        """Chain and key (PEM) that answer for `name`, the SNI as it was sent; None when nothing is presented for it."""
        sni = name.lower().removesuffix(".")
        if not _SNI.fullmatch(sni) or (content := _read(self._alpn / sni)) is None:
            return None
        subject, _, key_authorization = content.decode("ascii", "replace").partition("\n")
        known = self._pairs.get((subject, key_authorization))
        if known is None:
            if len(self._pairs) >= _MOST_CERTIFICATES:
                self._pairs.clear()
            known = self._pairs[subject, key_authorization] = make_challenge_certificate(subject, key_authorization)
        return known

    def is_presented(self, name: str) -> bool:
        """Somebody presented a TLS-ALPN-01 answer for `name`."""
        return _read(self._alpn / sni_of(canonical_name(name))) is not None

    # -- files ----------------------------------------------------------------------------------------------------------------

    def _write(self, folder: Path, name: str, content: bytes) -> None:
        self._number += 1
        # A dot that no token and no SNI begins with. A crash before the rename leaves it to `clear`.
        temporary = folder / f".{os.getpid()}-{self._number}"
        try:
            write_synced(temporary, content)
            temporary.rename(folder / name)
            sync_folder(folder)
        except OSError as error:
            remove(temporary)
            if isinstance(write_failure(error, temporary), StoreFull):
                raise StoreFull("no space left for a challenge") from error
            raise StoreError("a challenge could not be presented", error=error.strerror or str(error)) from error


def _check(pattern: re.Pattern[str], text: str) -> None:
    if not pattern.fullmatch(text):
        raise StoreError("not a name that a challenge can have", name=text[:80])


def _read(path: Path) -> bytes | None:
    """The content; None when there is none."""
    with suppress(OSError), path.open("rb") as file:
        return file.read(_LONGEST)
    return None


class HttpPresenter:
    """HTTP-01 for an issuer (`tls.acme.order.Presenter`): the token is the file."""

    def __init__(self, challenges: Challenges) -> None:
        self._challenges = challenges

    async def present(self, name: str, token: str, key_authorization: str) -> None:
        """Answer `token` from now on. Raises `StoreError`."""
        await self._challenges.present_http(token, key_authorization)

    async def withdraw(self, name: str, token: str) -> None:
        """Answer it no longer."""
        await self._challenges.withdraw_http(token)


class AlpnPresenter:
    """TLS-ALPN-01 for an issuer: the name is the file."""

    def __init__(self, challenges: Challenges) -> None:
        self._challenges = challenges

    async def present(self, name: str, token: str, key_authorization: str) -> None:
        """Answer for `name` from now on. Raises `StoreError`."""
        await self._challenges.present_alpn(name, key_authorization)

    async def withdraw(self, name: str, token: str) -> None:
        """Answer for it no longer."""
        await self._challenges.withdraw_alpn(name)
