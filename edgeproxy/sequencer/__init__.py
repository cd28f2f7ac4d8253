"""DRIVER: the single writer of the ledger, and recovery on start."""
