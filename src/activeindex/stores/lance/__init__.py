"""Stores of images on disk, with Lance (`lance://PATH`)."""
