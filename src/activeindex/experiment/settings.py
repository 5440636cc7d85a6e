"""Settings of an experiment, a class for each of its parts; no PyTorch."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from activeindex.activation.settings import ActivationSettings, ReleaseSettings
from activeindex.errors import InputError
from activeindex.runtime.fields import check_fields, option

if TYPE_CHECKING:
    from activeindex.indexing.training import Metric


@dataclass(frozen=True)
class IndexSettings:
    """Settings of the index: what it is trained on and holds.

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
        polysemous: Whether product quantisers are trained for polysemous search.
    """

    fts_training_path: Path = field(metadata={"help": "features that train it (.pt, .pth, .npy)"})
    fts_reference_path: Path = field(metadata={"help": "features that fill it (.pt, .pth, .npy)"})
    idx_factory: str = option("IVF4096,PQ8x8", "FAISS factory string")
    quant: "Metric" = option("L2", "metric", choices=("L2", "IP"))
    nprobe: int = option(1, "inverted lists a search visits", minimum=1)
    search_params: str | None = option(
        None,
        "other search-time parameters by FAISS's names, e.g. efSearch=64 or k_factor=4",
        metavar="NAME=NUMBER,…",
    )
    idx_dir: Path = option(Path("indexes"), "trained indexes")
    force: bool = option(
        False, "go on with an index, features or images made with another extractor or quantiser"
    )
    fts_edited_path: tuple[Path, ...] = option(
        (),
        "features of edited copies of the training images, from extract_fts --edit_seed, for an "
        "--idx_factory that begins with NAP",
        metavar="FTS",
    )
    polysemous: bool = option(
        False, "train product quantisers for polysemous search (--search_params ht=N), slowly"
    )

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.polysemous and re.search(
            r"(?<![a-z])(polysemous_)?ht\b", self.search_params or ""
        ):
            raise InputError("search_params ht: expected an index trained with --polysemous True")


@dataclass(frozen=True)
class EvaluationSettings:
    """Settings of the queries and searches.

    Attributes:
        kneighbors: Neighbours retrieved per query.
        batch_size_eval: Queries that go through the extractor together.
        use_attacks_2: Whether to use the long list of edits instead of the fixed one.
        edits: Edits in place of both: names, or functions of an RGB Pillow image and a NumPy
            generator; see :func:`~activeindex.edits.named.as_edit`.
        eval_retrieval: Whether to write ``retr_df.csv``.
        eval_icd: Whether to write ``icd_df.csv``.
        query_nonmatch_dir: Images that are not in the index, for copy detection; None for none.
    """

    kneighbors: int = option(100, "neighbours per query", minimum=1)
    batch_size_eval: int = option(128, "queries together", minimum=1)
    use_attacks_2: bool = option(False, "the long list of edits, not the fixed one")
    edits: tuple[str | Callable[..., Any], ...] = option(
        (),
        "edits in place of the list: names such as hflip or 'jpeg 50', or your own as "
        "package.module:name",
        importable=True,
        metavar="EDIT",
    )
    eval_retrieval: bool = option(True, "write retr_df.csv")
    eval_icd: bool = option(True, "write icd_df.csv")
    query_nonmatch_dir: Path | None = option(None, "images that are not in the index, as queries")

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class ExperimentSettings:
    """One arm of an experiment.

    Attributes:
        data_dir: The images of the set, those to be released.
        output_dir: Where the results go.
        index: The index.
        evaluation: Queries and searches.
        activation: Settings of the activation; not used in the passive arm.
        release: Format and budget of the released images; passive ones have the format, too.
        active: Whether the images are activated.
        save_imgs: Whether the released images are kept in ``imgs/``.
        batch_size: Images that are released and evaluated together; a killed run goes on after
            the last whole batch.
        seed: Seeds every image's noise and edits, together with its number.
        log_freq: Every how many iterations a line goes to ``log.jsonl``.
    """

    data_dir: Path = field(metadata={"help": "images to be released"})
    output_dir: Path = field(metadata={"help": "folder of the results"})
    index: IndexSettings
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    activation: ActivationSettings = field(default_factory=ActivationSettings)
    release: ReleaseSettings = field(default_factory=ReleaseSettings)
    active: bool = option(True, "activate the images; False is the passive arm")
    save_imgs: bool = option(True, "keep the released images in imgs/")
    batch_size: int = option(16, "images released together", minimum=1)
    seed: int = option(0, "of the noise and of random edits", minimum=0)
    log_freq: int = option(11, "iterations between two lines of log.jsonl", minimum=1)

    def __post_init__(self) -> None:
        check_fields(self)
