"""The ACME client (RFC 8555): accounts, orders, challenges and renewal information of one certificate authority.

Owns: the protocol, and the mending of what the library `acme` leaves open. Decides nothing about when to ask, and keeps no
certificates: the caller does.
"""
