"""The servers that are compared, each in a module that writes its configuration and gives its command.

Fair play: one core, one worker, keep-alive to clients and to the origin, a cache large enough for everything, what a careful user
would switch on. HAProxy reserves its whole cache at start, which its memory figure shows. Where a server logs by its nature
(nginx, edgeproxy), it logs, to a buffered file; where logging is another
process (Varnish), needs a log daemon (HAProxy) or is not its default (Caddy), it does not. Over TLS all have the same
certificate and leave sessions and ciphers as they come; the clients offer one cipher and one group, so that all do the same work.
"""

from benchmarks.peers.caddy import Caddy
from benchmarks.peers.edge import Edge
from benchmarks.peers.haproxy import Haproxy
from benchmarks.peers.nginx import Nginx
from benchmarks.peers.peer import Peer
from benchmarks.peers.plain import Plain
from benchmarks.peers.varnish import Varnish

ALL: tuple[Peer, ...] = (Edge(), Nginx(), Haproxy(), Varnish(), Caddy(), Plain())
