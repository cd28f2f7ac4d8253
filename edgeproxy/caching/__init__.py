"""CORE: what may be stored, how long it is fresh, how a request is answered (RFC 9111, 9211, 9213, 5861, 9875). Pure."""
