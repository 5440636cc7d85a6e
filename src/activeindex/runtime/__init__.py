"""Runtime: journal, atomic files, locks, worker pools, progress and logging.

Every room uses it, and it uses none of them.
"""
