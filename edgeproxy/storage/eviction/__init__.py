"""DRIVER: which object leaves the memory tier. One policy a module, all behind `policy.Eviction`."""
