"""Stores with Lance (``lance://PATH``): everything on disk."""
