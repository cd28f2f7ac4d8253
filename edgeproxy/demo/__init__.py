"""The bundled demo: an origin that can be broken, and the list of what to try."""

from edgeproxy.demo.banner import banner
from edgeproxy.demo.origin import DemoOrigin, build_app

__all__ = ["DemoOrigin", "banner", "build_app"]
