"""Evaluation: from the results of searches to the tables and tests of a run.

It stands beside the path of an image: searching is done elsewhere and hands in arrays. The search
for an edited image becomes a :class:`~activeindex.evaluation.retrieval.RetrievalResult`, that for
a query of copy detection a :class:`~activeindex.evaluation.copy_detection.DetectionResult`; each is
a line of ``retr_df.csv`` or ``icd_df.csv`` (:mod:`~activeindex.evaluation.csv_files`). Tables,
curves, intervals and comparisons are computed from these files, so a run can be examined long after
it ended, and beside others.
"""
