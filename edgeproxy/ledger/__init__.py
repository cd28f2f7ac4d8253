"""CORE: blocks, Merkle tree, rules, the fold of a chain into a cache index, and verification. No I/O, no clock."""
