"""What tests of the command line call: one command, and what it answers."""

from collections.abc import Callable

Command = Callable[..., tuple[int, str, str]]
"""Exit status, standard output, standard error."""
