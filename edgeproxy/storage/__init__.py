"""DRIVER: bodies on disk, the memory tier and its eviction, the SQLite ledger store."""
