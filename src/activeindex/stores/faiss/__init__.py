"""Stores of codes in memory, with FAISS and SQLite (`faiss:PATH`)."""
