"""From what a search returned to the tables of a run.

Searching is done elsewhere and hands in arrays. A search for an edited image becomes a
:class:`RetrievalResult`, a search of the copy-detection test a :class:`DetectionResult`; each is
one line of ``retr_df.csv`` or ``icd_df.csv`` (:func:`format_row`). The tables are computed from
these files (:meth:`RecallTable.read`, :meth:`DetectionSummary.read`), so a run can be looked at
long after it ended, and beside others.
"""

from activeindex.evaluation.copy_detection import (
    MISSED_SCORE,
    NO_MATCH,
    DetectionResult,
    Metric,
    PrecisionRecallCurve,
    ScoredPairs,
    micro_average_precision,
    precision_recall,
    score_pairs,
)
from activeindex.evaluation.csv_files import (
    DETECTION_COLUMNS,
    DETECTION_HEADER,
    RETRIEVAL_COLUMNS,
    RETRIEVAL_HEADER,
    RetrievalColumns,
    format_row,
    read_detection,
    read_retrieval,
)
from activeindex.evaluation.query_places import (
    PLACES_FILE,
    PLACES_HEADER,
    QueryPlace,
    read_places,
)
from activeindex.evaluation.rendering import (
    detection_comparison,
    plain_text,
    recall_comparison,
    recall_overview,
    recall_text,
    write_detection,
    write_recall,
)
from activeindex.evaluation.retrieval import RetrievalResult, attack_name
from activeindex.evaluation.tables import (
    MEASURES,
    PUBLISHED_EDITS,
    DetectionSummary,
    Edit,
    Measure,
    RecallRow,
    RecallTable,
)

__all__ = [
    "DETECTION_COLUMNS",
    "DETECTION_HEADER",
    "MEASURES",
    "MISSED_SCORE",
    "NO_MATCH",
    "PLACES_FILE",
    "PLACES_HEADER",
    "PUBLISHED_EDITS",
    "RETRIEVAL_COLUMNS",
    "RETRIEVAL_HEADER",
    "DetectionResult",
    "DetectionSummary",
    "Edit",
    "Measure",
    "Metric",
    "PrecisionRecallCurve",
    "QueryPlace",
    "RecallRow",
    "RecallTable",
    "RetrievalColumns",
    "RetrievalResult",
    "ScoredPairs",
    "attack_name",
    "detection_comparison",
    "format_row",
    "micro_average_precision",
    "plain_text",
    "precision_recall",
    "read_detection",
    "read_places",
    "read_retrieval",
    "recall_comparison",
    "recall_overview",
    "recall_text",
    "score_pairs",
    "write_detection",
    "write_recall",
]
