"""Which hosts get our service worker, as far as the configuration and what was seen can tell.

Owns: the sites that are switched on, and the hosts that turned out to have a service worker of their own since the start.
"""

import logging
from collections import OrderedDict

log = logging.getLogger("edgeproxy.injection")

MAX_OWN = 256


class OwnWorkers:
    """`injecting`: names of the sites whose mode is not off."""

    def __init__(self, injecting: frozenset[str]) -> None:
        self.injecting = injecting
        self._own: OrderedDict[str, None] = OrderedDict()

    def is_injected(self, site: str, host: str) -> bool:
        """Whether pages of `host` get the tag."""
        return site in self.injecting and host not in self._own

    def saw_own(self, site: str, host: str) -> None:
        """A browser fetched the script of a service worker at `host` that is not ours."""
        if host in self._own or site not in self.injecting:
            return
        log.warning("%s has a service worker of its own: ours stays away from it", host)
        self._own[host] = None
        if len(self._own) > MAX_OWN:
            self._own.popitem(last=False)
