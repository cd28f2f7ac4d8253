"""edgeproxy: an edge in front of an existing site that keeps serving verified content when its origin dies."""

__version__ = "0.1.0"
