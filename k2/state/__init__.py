"""Where bytes are kept for a while, in memory, in a file or in Redis, and the cache of state checkpoints made of it.

The only package that imports the Redis client. What is here is never anybody's truth, see docs/state-stores.md.
"""
