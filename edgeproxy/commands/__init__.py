"""The commands, one module a group: `serve` runs an edge, `operate` asks a running one, `ledger` reads the chain.

`options` holds what the commands share as flags, `printing` how answers look. They decide nothing about serving or caching.
"""
