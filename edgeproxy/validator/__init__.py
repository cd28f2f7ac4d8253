"""A permissioned validator: it checks the blocks of ledgers and cosigns their checkpoints (C2SP tlog-witness)."""
