"""SHELL: span names and attributes, metrics, access log."""
