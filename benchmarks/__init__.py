"""Measurements: the pure core (micro), eviction policies, and the whole edge side by side with other proxies (load)."""
