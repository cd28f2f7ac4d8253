"""An account at one authority: its key and URL on disk, and its registration (RFC 8555 section 7.3). Blocking.

Owns: FOLDER/accounts/<digest of directory and address>/ with `key.pem` and `account.json` (0600, folders 0700). The key is
durable before the authority hears of it, so no crash can leave an account without its key; the URL is only a memory, and asking
again with the same key finds it. Runs in the thread of the requests.
"""

import hashlib
import json
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urljoin

from acme import messages
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from josepy.jwk import JWKEC

from edgeproxy.storage import durable
from edgeproxy.tls.acme.network import Network, Reply, Signer
from edgeproxy.tls.acme.problems import own_failure
from edgeproxy.tls.acme.resources import AcmeDirectory

_KEY = "key.pem"
_URL = "account.json"
_CONFLICT = 409


@dataclass(frozen=True, slots=True)
class ExternalAccount:
    """What ties an ACME account to one that the authority's customer has already (RFC 8555 section 7.3.4)."""

    kid: str
    hmac_key: str = field(repr=False)
    """base64url, as authorities hand it out."""


def account_folder(folder: Path, directory: str, email: str) -> Path:
    """Where the account of `email` at `directory` lives: one for each pair, so a change of either makes a new account."""
    digest = hashlib.sha256(f"{directory}\n{email}".encode()).hexdigest()
    return folder / "accounts" / digest[:32]


class Account:
    """One account; made on first use."""

    def __init__(self, folder: Path, email: str, external: ExternalAccount | None) -> None:
        self._folder = folder
        self._email = email
        self._external = external
        self._signer: Signer | None = None

    def signer(self, network: Network, directory: AcmeDirectory) -> Signer:
        """The account's key and URL; registers where no URL is known. Raises IssuanceFailed."""
        if self._signer is None:
            try:
                key = JWKEC(key=self._load_key())
                url = self._load_url()
                if url is None:
                    url = self._register(network, directory, key)
                    self._write(_URL, json.dumps({"url": url, "email": self._email}).encode(), replace=True)
            except OSError as error:
                raise own_failure("badAccount", f"the account cannot be kept: {error}") from error
            self._signer = Signer(key, url)
        return self._signer

    def forget(self) -> None:
        """The authority does not know the account any more: the next use registers again, with the same key."""
        self._signer = None
        durable.remove(self._folder / _URL)

    def _register(self, network: Network, directory: AcmeDirectory, key: JWKEC) -> str:
        if directory.external_account_required and self._external is None:
            raise own_failure("externalAccountRequired", "this authority wants an external account: its kid and HMAC key")
        registration = messages.NewRegistration.from_data(
            email=self._email or None,
            terms_of_service_agreed=True,
            external_account_binding=self._binding(directory, key),
        )
        reply = network.post(
            directory.new_account,
            registration.json_dumps().encode(),
            Signer(key),
            directory.new_nonce,
            accept=frozenset((_CONFLICT,)),
        )
        return _location(reply, directory.new_account)

    def _binding(self, directory: AcmeDirectory, key: JWKEC) -> dict[str, object] | None:
        if self._external is None:
            return None
        try:
            binding: dict[str, object] = messages.ExternalAccountBinding.from_data(
                key.public_key(),
                self._external.kid,
                self._external.hmac_key.rstrip("="),
                messages.Directory({"newAccount": directory.new_account}),
            )
        except ValueError as error:
            raise own_failure("badAccount", "the key of the external account is not base64url") from error
        return binding

    def _load_key(self) -> ec.EllipticCurvePrivateKey:
        path = self._folder / _KEY
        with suppress(FileNotFoundError):
            if (key := _parse_key(path.read_bytes())) is not None:
                return key
            # Unreadable bytes are kept for whoever can make something of them; an account costs nothing.
            path.replace(path.with_suffix(".unreadable"))
            durable.remove(self._folder / _URL)
        self._write(_KEY, _encode_key(ec.generate_private_key(ec.SECP256R1())), replace=False)
        # Another process may have been faster: what stands there now is the account's key.
        key = _parse_key(path.read_bytes())
        if key is None:
            raise own_failure("badAccount", "the account's key cannot be read after it was written")
        return key

    def _load_url(self) -> str | None:
        try:
            url = json.loads((self._folder / _URL).read_bytes())["url"]
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None
        return url if isinstance(url, str) and url else None

    def _write(self, name: str, data: bytes, *, replace: bool) -> None:
        """Write a file under its final name, whole or not at all; without `replace`, one that is there stays.

        A crash before the rename or link leaves a temporary file that nobody reads; after it, the file is whole.
        """
        self._folder.parent.mkdir(mode=durable.FOLDER_MODE, parents=True, exist_ok=True)
        self._folder.mkdir(mode=durable.FOLDER_MODE, exist_ok=True)
        temporary = self._folder / f".{name}.{secrets.token_hex(4)}"
        durable.write_synced(temporary, data)
        try:
            if replace:
                temporary.replace(self._folder / name)
            else:
                with suppress(FileExistsError):
                    os.link(temporary, self._folder / name)
        finally:
            durable.remove(temporary)
        durable.sync_folder(self._folder)
        durable.sync_folder(self._folder.parent)


def _location(reply: Reply, base: str) -> str:
    """The account's URL: of a new one (201), of one that this key has already (200), or of one it is in conflict with (409)."""
    location = reply.headers.get("Location")
    if not location:
        raise own_failure("badAnswer", f"an account without a URL (status {reply.status})")
    return urljoin(base, location)


def _parse_key(data: bytes) -> ec.EllipticCurvePrivateKey | None:
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError):
        return None
    return key if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1) else None


def _encode_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
