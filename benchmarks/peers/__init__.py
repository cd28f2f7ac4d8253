"""The servers that are compared, each in a module that writes its configuration and gives its command.

Fair play: one core, one worker, keep-alive to clients and to the origin, a cache large enough for everything, what a careful user
would switch on. HAProxy reserves its whole cache at start, which its memory figure shows. Where a server logs by its nature
(nginx, edgeproxy), it logs, to a buffered file; where logging is another
process (Varnish) or needs a log daemon (HAProxy), it does not.
"""

from benchmarks.peers.edge import Edge
from benchmarks.peers.haproxy import Haproxy
from benchmarks.peers.nginx import Nginx
from benchmarks.peers.peer import Peer
from benchmarks.peers.varnish import Varnish

ALL: tuple[Peer, ...] = (Edge(), Nginx(), Haproxy(), Varnish())
