"""Who is counted as one client where something is bounded for each.

Owns: that rule. Must not count anything.
"""

import functools
import ipaddress

LONGEST = 64
"""Characters of what is no address."""


@functools.lru_cache(maxsize=1024)
def client_of(address: str) -> str:
    """An IPv4 address, or the /64 that an IPv6 address is in, since one customer is given all of it; other text as it is."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:LONGEST]
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    mapped = parsed.ipv4_mapped
    return str(mapped) if mapped else str(ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))
