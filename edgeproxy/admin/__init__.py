"""The operator's side of a running edge: server, client, and the token between them.

`backend` is what the server needs of the edge, `api` the routes, `openapi` their description, `page` the one HTML page,
`presence` the token and the address in the data folder, `client` what the command line uses. Must not know the edge's insides.
"""
