"""Data sets: folders arranged the way an experiment takes them."""
