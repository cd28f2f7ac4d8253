"""CORE: messages, fields, heads, framing, structured fields, ranges. Bytes and values in, values out; no I/O, no clock."""
