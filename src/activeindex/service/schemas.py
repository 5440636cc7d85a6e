"""Shapes of requests and answers, from which the OpenAPI schema is made."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Tag = Annotated[str, Field(min_length=1, max_length=100)]
Name = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")]
Metadata = dict[str, Any]


class Problem(BaseModel):
    """RFC 9457."""

    model_config = ConfigDict(extra="allow")
    type: str
    title: str
    status: int
    detail: str


class Links(BaseModel):
    """Links to the parts of an image."""

    self: str
    released: str
    thumbnail: str


class Image(BaseModel):
    """A registered image."""

    id: int
    name: str
    sha256: str | None
    activated: bool
    psnr: float | None
    ssim: float | None
    linf: float | None
    tags: list[str]
    metadata: Metadata | None
    disabled_until: float | None
    links: Links
    warnings: list[str] = []


class ImagePage(BaseModel):
    """Images by ascending id; ``next`` is the cursor of those that follow."""

    images: list[Image]
    next: int | None


class ImageChange(BaseModel):
    """Changes of an image; a value that is left out stays."""

    model_config = ConfigDict(extra="forbid")
    tags: list[Tag] | None = Field(None, max_length=100)
    metadata: Metadata | None = None
    disabled_until: float | None = Field(None, ge=0, le=1e12, allow_inf_nan=False)


class JobView(BaseModel):
    """A registration; ``status`` and ``answer`` are those of the request once it has ended."""

    id: str
    state: Literal["queued", "running", "done", "failed"]
    created: float
    changed: float
    status: int | None
    answer: dict[str, Any] | None


class Match(BaseModel):
    """A stored image that is near the query."""

    model_config = ConfigDict(extra="allow")
    id: int
    name: str
    distance: float
    score: float | None
    expected_false_matches: float | None


class Searched(BaseModel):
    """Share of the store that was compared."""

    lists: int
    of: int
    codes: int


class Answer(BaseModel):
    """Answer of a search; the decision is null in a store without a calibration."""

    query: str
    decision: Literal["match", "review", "none"] | None
    matches: list[Match]
    searched: Searched | None


class Comparison(BaseModel):
    """A condition on a column of the store."""

    model_config = ConfigDict(extra="forbid")
    column: Literal["id", "name", "sha256", "psnr", "ssim", "linf", "tags"]
    operator: Literal["=", "!=", "<", "<=", ">", ">=", "like", "contains"]
    value: int | float | str

    def as_filter(self) -> str:
        """The condition in the grammar of ``activeindex search --where``."""
        number = isinstance(self.value, int | float)
        text = repr(self.value) if number else "'" + str(self.value).replace("'", "''") + "'"
        if self.operator == "contains":
            return f"{text} IN {self.column}"
        return f"{self.column} {self.operator.upper()} {text}"


class Quantiser(BaseModel):
    """A generation: images that were released for one index."""

    model_config = ConfigDict(extra="allow")
    number: int
    quantiser: dict[str, Any]
    images: int
    calibrated: bool


class Ready(BaseModel):
    """Readiness to search for pictures and to register them."""

    ready: bool
    reason: str | None = None
