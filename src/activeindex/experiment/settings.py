"""What an experiment is made of, each part with the settings that it uses."""

from dataclasses import dataclass, field
from pathlib import Path

from activeindex.activation.release import ReleaseSettings
from activeindex.activation.settings import ActivationSettings
from activeindex.errors import InputError
from activeindex.indexing.training import METRICS, Metric


def _at_least(least: int, **values: int) -> None:
    for name, value in values.items():
        if value < least:
            raise InputError(f"{name}: expected {least} or more, found {value}")


@dataclass(frozen=True)
class IndexSettings:
    """Which index is searched, and what it is trained on and holds.

    Attributes:
        idx_factory: FAISS factory string.
        quant: Metric, ``L2`` or ``IP``.
        nprobe: Inverted lists that a search visits.
        search_params: Other search-time parameters by FAISS's names, ``"efSearch=64"``.
        idx_dir: Where trained indexes are kept.
        force: Whether to take an index, or images, that were made with another extractor or
            another quantiser.
        fts_training_path: Features that the index is trained on.
        fts_reference_path: Features of the references, added with ids 0 … R - 1.
        fts_edited_path: Features of edited copies of the training images, for a factory string
            that begins with ``NAP``.
    """

    fts_training_path: Path
    fts_reference_path: Path
    idx_factory: str = "IVF4096,PQ8x8"
    quant: Metric = "L2"
    nprobe: int = 1
    search_params: str | None = None
    idx_dir: Path = Path("indexes")
    force: bool = False
    fts_edited_path: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        _at_least(1, nprobe=self.nprobe)
        if self.quant not in METRICS:
            raise InputError(f"quant: expected one of {', '.join(METRICS)}, found {self.quant!r}")


@dataclass(frozen=True)
class EvaluationSettings:
    """How the released images are looked for.

    Attributes:
        kneighbors: Neighbours retrieved per query.
        batch_size_eval: Queries that go through the extractor together.
        use_attacks_2: Whether to use the long list of edits instead of the fixed one.
        eval_retrieval: Whether to write ``retr_df.csv``.
        eval_icd: Whether to write ``icd_df.csv``.
        query_nonmatch_dir: Images that are not in the index, for copy detection; None for none.
    """

    kneighbors: int = 100
    batch_size_eval: int = 128
    use_attacks_2: bool = False
    eval_retrieval: bool = True
    eval_icd: bool = True
    query_nonmatch_dir: Path | None = None

    def __post_init__(self) -> None:
        _at_least(1, kneighbors=self.kneighbors, batch_size_eval=self.batch_size_eval)


@dataclass(frozen=True)
class ExperimentSettings:
    """One arm of an experiment.

    Attributes:
        data_dir: The images of the set, those to be released.
        output_dir: Where the results go.
        index: The index that is searched.
        evaluation: How the released images are looked for.
        activation: How images are activated; not used in the passive arm.
        release: Format and budget of the released images; passive ones have the format, too.
        active: Whether the images are activated.
        save_imgs: Whether the released images are kept in ``imgs/``.
        batch_size: Images that are released and evaluated together; a killed run goes on after
            the last whole batch.
        seed: Seeds every image's noise and edits, together with its number.
        log_freq: Every how many iterations a line goes to ``log.jsonl``.
    """

    data_dir: Path
    output_dir: Path
    index: IndexSettings
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    activation: ActivationSettings = field(default_factory=ActivationSettings)
    release: ReleaseSettings = field(default_factory=ReleaseSettings)
    active: bool = True
    save_imgs: bool = True
    batch_size: int = 16
    seed: int = 0
    log_freq: int = 11

    def __post_init__(self) -> None:
        _at_least(1, batch_size=self.batch_size, log_freq=self.log_freq)
        _at_least(0, seed=self.seed)
