"""DRIVER: asks origin servers, with aiohttp; pools, balances, maps failures. Decides nothing about caching."""
