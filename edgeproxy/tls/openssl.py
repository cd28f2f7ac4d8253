"""What Python's `ssl` does not reach in its own OpenSSL: the list of groups, session ticket keys, the session cache.

Owns: finding that very libssl and the SSL_CTX inside an `ssl.SSLContext`, and being sure of both before anything is called.
Must not decide what is set. Where one check fails there is no `OpenSsl`, and everything runs on OpenSSL's defaults: another
choice of groups, and tickets that neither survive a renewal nor are shared by processes.

`_ssl.SSLContext` begins with PyObject_HEAD, then `SSL_CTX *ctx` (CPython 3.11 to 3.14). Nothing promises that, so it is proved
at the start on a context of our own: the pointer is read through /proc/self/mem, where a wild one is an error and not a crash,
and must lead to a structure that points to a method table inside libssl, as SSL_CTX does in its first or second word.
"""

import _ssl
import ctypes
import logging
import os
import ssl
import sys
from dataclasses import dataclass

from edgeproxy.errors import ContextRefused

log = logging.getLogger("edgeproxy.tls")

TICKET_KEY_BYTES = 80
"""Key name (16), HMAC-SHA256 key (32), AES-256 key (32), as SSL_CTX_set_tlsext_ticket_keys takes them."""

_POINTER = ctypes.sizeof(ctypes.c_void_p)
_OFFSET = object.__basicsize__

# Commands of SSL_CTX_ctrl (openssl/ssl.h); their numbers are part of OpenSSL's ABI.
_SET_SESS_CACHE_MODE = 44
_GET_TICKET_KEYS = 58
_SET_TICKET_KEYS = 59
_SET_GROUPS_LIST = 92


@dataclass(frozen=True, slots=True)
class _Mapping:
    """One line of /proc/self/maps."""

    start: int
    end: int
    path: str


class OpenSsl:
    """The libssl that `ssl` uses. Made by `find_openssl` only, which has proved that it is the right one."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._control = library.SSL_CTX_ctrl
        self._control.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_char_p)
        self._control.restype = ctypes.c_long

    @property
    def address(self) -> int:
        """Where its code is."""
        return ctypes.cast(self._control, ctypes.c_void_p).value or 0

    def set_groups(self, context: ssl.SSLContext, groups: str) -> None:
        """Offer exactly these key exchange groups, best first ("X25519:P-256"). Raises ContextRefused."""
        if self._control(_pointer(context), _SET_GROUPS_LIST, 0, groups.encode()) != 1:
            raise ContextRefused("OpenSSL does not know these groups", groups=groups)

    def set_ticket_keys(self, context: ssl.SSLContext, keys: bytes) -> None:
        """Seal and open session tickets with `keys` from now on; those sealed with the ones before are no longer opened."""
        if len(keys) != TICKET_KEY_BYTES or self._control(_pointer(context), _SET_TICKET_KEYS, len(keys), keys) != 1:
            raise ContextRefused("OpenSSL does not take these ticket keys", length=len(keys))

    def ticket_key_length(self, context: ssl.SSLContext) -> int:
        """How many bytes of ticket keys this OpenSSL wants."""
        return int(self._control(_pointer(context), _GET_TICKET_KEYS, 0, None))

    def forget_sessions(self, context: ssl.SSLContext) -> None:
        """Keep no sessions in memory: TLS 1.2 would resume by id what has no ticket, and a context's cache grows to 20,000."""
        self._control(_pointer(context), _SET_SESS_CACHE_MODE, 0, None)


def _pointer(context: ssl.SSLContext) -> int:
    return ctypes.c_void_p.from_address(id(context) + _OFFSET).value or 0


def find_openssl(*, wanted: bool = True) -> OpenSsl | None:
    """The libssl behind `ssl`, or None where it is not `wanted` or one of the checks fails (which is logged)."""
    if not wanted:
        return None
    try:
        fault = _fault_of_platform()
        openssl = None if fault else OpenSsl(ctypes.CDLL(getattr(_ssl, "__file__", None)))
        if openssl is not None:
            fault = _fault_of(openssl)
    except (OSError, AttributeError, ValueError, ContextRefused) as error:  # no /proc, no such symbol, unreadable memory
        fault = str(error)
    if fault:
        log.warning("OpenSSL's own defaults are used for groups and session tickets: %s", fault)
        return None
    return openssl


def _fault_of_platform() -> str:
    if sys.implementation.name != "cpython":
        return "the interpreter is not CPython"
    if _ssl._SSLContext.__basicsize__ < _OFFSET + _POINTER:
        return "the layout of a context is not known"
    return ""


def _fault_of(openssl: OpenSsl) -> str:
    """Why `openssl` cannot be trusted with a context, or ""."""
    library = _library_at(openssl.address)
    if not library:
        return "no library is mapped where SSL_CTX_ctrl is"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    words = _words_at(_pointer(context), 2)
    if not any(mapping.start <= word < mapping.end for word in words for mapping in library):
        return "what a context points to is not an SSL_CTX of this library"
    if openssl.ticket_key_length(context) != TICKET_KEY_BYTES:
        return "this OpenSSL has ticket keys of another length"
    keys = os.urandom(TICKET_KEY_BYTES)
    openssl.set_ticket_keys(context, keys)
    openssl.set_groups(context, "P-256")
    return ""


def _library_at(address: int) -> list[_Mapping]:
    """All mappings of the file whose code is at `address`."""
    mappings = []
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            fields = line.split(maxsplit=5)
            start, _, end = fields[0].partition("-")
            mappings.append(_Mapping(int(start, 16), int(end, 16), fields[5].rstrip("\n") if len(fields) > 5 else ""))
    path = next((mapping.path for mapping in mappings if mapping.start <= address < mapping.end), "")
    return [mapping for mapping in mappings if path and mapping.path == path]


def _words_at(address: int, count: int) -> tuple[int, ...]:
    """Machine words at `address`, without a crash where nothing is; raises OSError or ValueError then."""
    with open("/proc/self/mem", "rb", buffering=0) as memory:
        memory.seek(address)
        data = memory.read(count * _POINTER)
    if len(data) != count * _POINTER:
        raise ValueError("memory cannot be read")
    return tuple(int.from_bytes(data[at : at + _POINTER], sys.byteorder) for at in range(0, len(data), _POINTER))
