"""Core: where the tag goes in a page, what its policy must allow, and which answers get it. Pure."""
