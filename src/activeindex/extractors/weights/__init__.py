"""Weights of the named models: the user's cache, downloads into it, and the record of hashes."""
