"""Stores with FAISS and SQLite (``faiss:PATH``): codes in memory, records in a database."""
