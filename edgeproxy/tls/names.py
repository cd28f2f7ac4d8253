"""Names and addresses of sites in the one form in which they are compared.

Owns: that form. Must not know which sites there are.
"""

import functools
import ipaddress


@functools.lru_cache(maxsize=256)
def normal_address(text: str) -> str | None:
    """An IP address in canonical text: IPv6 compressed and without a zone, IPv4-mapped IPv6 as IPv4. None when it is none."""
    try:
        address = ipaddress.ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)


def normal_name(text: str) -> str:
    """A host name, wildcard or IP address of a configuration or a certificate as it is looked up."""
    return normal_address(text) or text.lower().removesuffix(".")


def wildcard_of(name: str) -> str | None:
    """The only wildcard that covers `name`: one label is replaced, never two (RFC 9525 section 6.3). None for a single label."""
    _, dot, parent = name.partition(".")
    return f"*.{parent}" if dot and parent else None
