"""SHELL: the life of one exchange: lookup, plan, coalesce, fetch, record, deliver."""
