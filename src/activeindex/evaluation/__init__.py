"""From what a search returned to the tables of a run.

Searching is done elsewhere and hands in arrays. A search for an edited image becomes a
:class:`RetrievalResult`, a search of the copy-detection test a :class:`DetectionResult`; each is
one line of ``retr_df.csv`` or ``icd_df.csv`` (:func:`format_row`). The tables are computed from
these files (:meth:`RecallTable.read`, :meth:`DetectionSummary.read`), so a run can be looked at
long after it ended, and beside others.
"""
