"""Decisions about hits: is the query a copy, and how often would chance say so?

A search returns distances. A calibration turns the distance of a hit into the number of false
matches that are expected at least as near by chance, like BLAST's E-value, and into a decision.
Stores keep calibrations beside their codes, and their searches decide by them.
"""
