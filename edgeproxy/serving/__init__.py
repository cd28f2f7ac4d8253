"""DRIVER: listeners, HTTP/1 connections, tunnels. Knows sockets; decides nothing about caching."""
