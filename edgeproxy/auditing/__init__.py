"""Auditing the ledger of an edge somewhere else, with nothing but its key."""
