"""SHELL: what to do when an origin fails."""
