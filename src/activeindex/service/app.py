"""The routes of the service."""

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, File, Form, Header, Query, Request, Response, UploadFile
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import TypeAdapter, ValidationError
from starlette.exceptions import HTTPException

from activeindex import __version__
from activeindex.activation.settings import PRESETS
from activeindex.errors import ActiveIndexError, InputError
from activeindex.images.formats import FORMATS
from activeindex.service.database import Job
from activeindex.service.desk import Desk, Refusal, as_refusal, check_disk
from activeindex.service.http import PROBLEM, Envelope, problem
from activeindex.service.keys import Key, check_key
from activeindex.service.page.routes import Sessions, add_page
from activeindex.service.schemas import (
    Answer,
    Comparison,
    Image,
    ImageChange,
    ImagePage,
    JobView,
    Metadata,
    Name,
    Problem,
    Quantiser,
    Ready,
    Tag,
)

_BEARER = HTTPBearer(auto_error=False, description="A key of `activeindex keys create`")

_PAGE = 50
_LONGEST_WAIT = 60.0
_LARGEST_ID = 2**63 - 1

_Answers = dict[int | str, dict[str, Any]]


def _refused(*statuses: int) -> _Answers:
    """Answers of a route beside its usual one."""
    content = {"application/problem+json": {"schema": Problem.model_json_schema()}}
    return {s: {"description": "Refused", "content": content} for s in (401, 403, 429, *statuses)}


def _files(*kinds: str) -> _Answers:
    """The usual answer of a route that sends a file."""
    return {200: {"content": {kind: {} for kind in kinds}}}


class Service(FastAPI):
    """The application; ``desk`` is open while it runs."""

    desk: Desk


def create_app(open_desk: Callable[[], Desk]) -> Service:
    """Make the application.

    Args:
        open_desk: Opens the desk; called when the server starts, and closed at its end.
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(desk.close)

    desk = open_desk()
    app = Service(
        title="activeindex",
        version=__version__,
        description="Register, release and recognise pictures.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.desk = desk
    app.state.sessions = Sessions(desk.database)
    app.state.waiting = Waiting(desk.limits.of_a_key)
    app.add_middleware(Envelope, limits=desk.limits, metrics=desk.metrics)
    _handle_errors(app)
    _add_health(app)
    _add_images(app)
    _add_search(app)
    add_page(app, app.state.sessions)
    return app


class Waiting:
    """Requests of each key that are being answered.

    Args:
        most: Of one key at once.
    """

    def __init__(self, most: int) -> None:
        self._most, self._counts, self._turn = most, Counter[str](), threading.Lock()

    @contextlib.contextmanager
    def of(self, key: Key) -> Iterator[None]:
        """Count a request for as long as the block lasts.

        Raises:
            Refusal: If the key has too many (429).
        """
        with self._turn:
            if self._counts[key.id] >= self._most:
                raise Refusal(429, "too many requests of this key at once")
            self._counts[key.id] += 1
        try:
            yield
        finally:
            with self._turn:
                self._counts[key.id] -= 1


def allowed(*scopes: str) -> Any:
    """A dependency: the key of the request, which must have one of these scopes.

    Raises:
        Refusal: Without a valid key (401), and without the scope (403).
    """

    def key_of(
        request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]
    ) -> Key:
        desk: Desk = request.app.desk
        sessions: Sessions = request.app.state.sessions
        key = check_key(desk.database, given.credentials) if given else sessions.allows(request)
        if key is None:
            raise Refusal(401, "expected a valid key: Authorization: Bearer KEY")
        request.state.key = key.id
        if scopes and not any(map(key.allows, scopes)):
            raise Refusal(403, f"this key does not allow to {' or '.join(scopes)}")
        return key

    return Depends(key_of)


def desk_of(request: Request) -> Desk:
    """The desk of the application."""
    desk: Desk = request.app.desk
    return desk


Open = Annotated[Desk, Depends(desk_of)]
AnyKey = Annotated[Key, allowed()]
Searcher = Annotated[Key, allowed("search")]
Registrar = Annotated[Key, allowed("register")]
Remover = Annotated[Key, allowed("remove")]
Number = Annotated[int, Query(ge=0, le=_LARGEST_ID)]


def _handle_errors(app: FastAPI) -> None:
    """Make every error an ``application/problem+json``."""

    @app.exception_handler(Refusal)
    async def refused(_: Request, error: Refusal) -> Response:
        return problem(error)

    @app.exception_handler(HTTPException)
    async def known(_: Request, error: HTTPException) -> Response:
        if error.status_code == 413 or "multipart" in str(error.detail).lower():
            return problem(Refusal(error.status_code, str(error.detail)))
        return problem(Refusal(error.status_code, str(error.detail)))

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> Response:
        parts = [
            f"{'.'.join(str(at) for at in each['loc'][1:]) or 'request'}: {each['msg']}"
            for each in error.errors()[:3]
        ]
        return problem(Refusal(422, "; ".join(parts)))

    @app.exception_handler(InputError)
    async def refused_by_library(_: Request, error: InputError) -> Response:
        return problem(Refusal(422, str(error)))

    @app.exception_handler(ActiveIndexError)
    async def failed(_: Request, error: ActiveIndexError) -> Response:
        return problem(Refusal(500, "the store cannot be used; see the log of the service"))

    @app.exception_handler(OSError)
    async def unwritten(request: Request, error: OSError) -> Response:
        return problem(as_refusal(error, desk_of(request).released))

    @app.exception_handler(Exception)
    async def bug(_: Request, error: Exception) -> Response:
        return problem(Refusal(500, "internal error"))


def _add_health(app: Service) -> None:
    @app.get("/livez", tags=["health"])
    async def livez() -> dict[str, str]:
        """Answer as long as the process runs."""
        return {"status": "alive"}

    @app.get("/readyz", tags=["health"], response_model=Ready, responses={503: {"model": Ready}})
    async def readyz(desk: Open) -> Response:
        """Readiness to search for pictures and to register them."""
        reason = await run_in_threadpool(desk.ready)
        found = Ready(ready=reason is None, reason=reason)
        return JSONResponse(found.model_dump(), 200 if reason is None else 503)

    @app.get("/metrics", tags=["health"], response_class=PlainTextResponse, responses=_refused())
    def metrics(key: AnyKey, desk: Open) -> Response:
        """Metrics as Prometheus reads them."""
        for kind, count in desk.queued().items():
            desk.metrics.queued.labels(kind).set(count)
        desk.metrics.images.set(desk.store.count())
        desk.metrics.disk.set(shutil.disk_usage(desk.released).free)
        return Response(desk.metrics.exposition(), media_type="text/plain; version=0.0.4")

    @app.get("/openapi.json", tags=["health"], include_in_schema=False)
    def schema(key: AnyKey) -> dict[str, Any]:
        """The schema of this API."""
        return app.openapi()

    @app.get("/v1/calibration", tags=["store"], responses=_refused())
    def calibration(key: AnyKey, desk: Open) -> list[dict[str, Any]]:
        """Background of the decisions, for each calibrated generation."""
        found = desk.store.calibrations()
        return [
            {"quantiser": number, "background": each.background._asdict()}
            for number, each in found.items()
        ]

    @app.get("/v1/generations", tags=["store"], responses=_refused())
    def generations(key: AnyKey, desk: Open) -> list[Quantiser]:
        """The quantisers that images were released for, oldest first."""
        calibrated = desk.store.calibrations()
        return [
            Quantiser(
                number=number,
                quantiser=each.identity.as_json(),
                images=each.count(),
                calibrated=each.identity.sha256 in calibrated,
            )
            for number, each in enumerate(desk.store.generations)
        ]


def _add_images(app: FastAPI) -> None:
    @app.post(
        "/v1/images",
        tags=["images"],
        status_code=201,
        response_model=Image,
        responses={202: {"model": JobView}, **_refused(400, 408, 409, 413, 422, 503, 507)},
    )
    async def register(
        request: Request,
        key: Registrar,
        desk: Open,
        file: Annotated[UploadFile, File()],
        name: Annotated[Name | None, Form()] = None,
        metadata: Annotated[str | None, Form(max_length=50_000)] = None,
        tags: Annotated[list[Tag] | None, Form(max_length=100)] = None,
        preset: Annotated[Literal[*PRESETS], Form()] = "thorough",  # type: ignore[valid-type]
        format: Annotated[Literal[*FORMATS], Form()] = "png",  # type: ignore[valid-type]
        quality: Annotated[int | None, Form(ge=1, le=100)] = None,
        allow_duplicate: Annotated[bool, Form()] = False,
        idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255)] = None,
        prefer: Annotated[str | None, Header(max_length=255)] = None,
    ) -> Response:
        """Activate a picture, release it, and add it to the store.

        With `Prefer: wait=N` the answer is that of the registration, if it ends within N seconds;
        otherwise a job. The same `Idempotency-Key` and request get the same answer.
        """
        check_disk(desk.uploads)
        asked = {
            "name": name or _name_of(file),
            "metadata": _metadata(metadata),
            "tags": tags,
            "preset": preset,
            "format": format,
            "quality": quality,
            "allow_duplicate": allow_duplicate,
        }
        if quality is not None and format == "png":
            raise Refusal(422, "quality: expected none for png, which is lossless")
        with app.state.waiting.of(key):
            job = await _begun(desk, key, asked, file, idempotency_key)
            if job.status is None:
                waited = await run_in_threadpool(desk.wait, job.id, _wait(prefer))
                job = waited or job
        headers = {"Location": f"/v1/jobs/{job.id}"}
        if job.status is None:
            return JSONResponse(_job_view(job).model_dump(), 202, headers)
        if job.status >= 300:
            return JSONResponse(job.answer, job.status, media_type=PROBLEM)
        assert job.answer is not None
        headers["Location"] = job.answer["links"]["self"]
        return JSONResponse(job.answer, job.status, headers)

    @app.get("/v1/images", tags=["images"], responses=_refused(422))
    def listing(
        key: Registrar,
        desk: Open,
        cursor: Annotated[int, Query(ge=-1, le=_LARGEST_ID)] = -1,
        limit: Annotated[int, Query(ge=1, le=1000)] = _PAGE,
    ) -> ImagePage:
        """Images by ascending id, after that of the cursor."""
        records = desk.store.page(cursor, limit)
        more = records[-1].id if len(records) == limit else None
        images = [Image(**desk.image(record)) for record in records]
        return ImagePage(images=images, next=more)

    @app.get("/v1/images/{number}", tags=["images"], responses=_refused(404, 422))
    def image(number: int, key: Registrar, desk: Open) -> Image:
        """A registered image."""
        return Image(**desk.image(desk.record(_checked(number))))

    @app.patch("/v1/images/{number}", tags=["images"], responses=_refused(404, 422, 503))
    def change(number: int, changes: ImageChange, key: Registrar, desk: Open) -> Image:
        """Change tags, metadata, or the time until which no search finds an image."""
        desk.record(_checked(number))
        given = changes.model_dump(exclude_unset=True)
        if given:
            desk.written(lambda: desk.store.update(number, **given))
        return Image(**desk.image(desk.record(number)))

    @app.delete(
        "/v1/images/{number}", tags=["images"], status_code=204, responses=_refused(404, 422, 503)
    )
    def remove(number: int, key: Remover, desk: Open) -> None:
        """Remove an image; the next search does not find it."""
        desk.remove(_checked(number))

    @app.get(
        "/v1/images/{number}/released",
        tags=["images"],
        response_class=FileResponse,
        responses=_files("image/png", "image/jpeg", "image/webp") | _refused(404, 422),
    )
    def released(number: int, key: Registrar, desk: Open) -> FileResponse:
        """The file to publish."""
        path = desk.released_file(_checked(number))
        return FileResponse(path, filename=f"{number}{path.suffix}")

    @app.get(
        "/v1/images/{number}/original-thumbnail",
        tags=["images"],
        response_class=Response,
        responses=_files("image/webp") | _refused(404, 422),
    )
    def thumbnail(number: int, key: Registrar, desk: Open) -> Response:
        """A small copy of the original."""
        desk.record(_checked(number))
        found = desk.store.thumbnail(number)
        if found is None:
            raise Refusal(404, f"image {number} has no thumbnail")
        return Response(found, media_type="image/webp")

    @app.get("/v1/jobs/{number}", tags=["images"], responses=_refused(404))
    def job(number: str, key: Registrar, desk: Open) -> JobView:
        """A registration that was not waited for."""
        found = desk.database.job(number)
        if found is None or (found.key != key.id and not key.allows("admin")):
            raise Refusal(404, "there is no such job")
        return _job_view(found)


def _add_search(app: FastAPI) -> None:
    @app.post("/v1/search", tags=["search"], responses=_refused(400, 404, 408, 413, 422, 503, 507))
    async def search(
        request: Request,
        key: Searcher,
        desk: Open,
        file: Annotated[UploadFile | None, File()] = None,
        id: Annotated[int | None, Form(ge=0, le=_LARGEST_ID)] = None,
        k: Annotated[int, Form(ge=1, le=1000)] = 10,
        effort: Annotated[int | None, Form(ge=1, le=10**9)] = None,
        nprobe: Annotated[int | None, Form(ge=1, le=10**6)] = None,
        refine: Annotated[int, Form(ge=0, le=100)] = 0,
        match: Annotated[float | None, Form(ge=0, allow_inf_nan=False)] = None,
        review: Annotated[float | None, Form(ge=0, allow_inf_nan=False)] = None,
        filters: Annotated[str | None, Form(max_length=10_000)] = None,
    ) -> Answer:
        """Find the nearest images of a picture, or of a stored image, and decide.

        `filters` is a JSON array of `{"column", "operator", "value"}`, all of which must hold.
        """
        if (file is None) == (id is None):
            raise Refusal(422, "expected a file or an id, one of them")
        given = {"effort": effort, "nprobe": nprobe, "match": match, "review": review}
        options: dict[str, Any] = {n: value for n, value in given.items() if value is not None}
        options |= {"refine": refine, "where": _filter(filters)}
        with app.state.waiting.of(key):
            if file is None:
                assert id is not None
                name, feature = str(id), await run_in_threadpool(desk.feature_of, id)
            else:
                name = _name_of(file)
                path = desk.uploads / f"search-{secrets.token_hex(8)}"
                try:
                    await run_in_threadpool(_save, file, path, False)
                    feature = await run_in_threadpool(desk.feature, path)
                finally:
                    await run_in_threadpool(path.unlink, True)
            found = await run_in_threadpool(desk.search, name, feature, k, **options)
        answer = found.as_json()
        answer.pop("neighbours", None)
        return Answer(**answer)


async def _begun(
    desk: Desk, key: Key, asked: dict[str, Any], file: UploadFile, token: str | None
) -> Job:
    """Begin a registration, or find that of the same token."""
    number = secrets.token_hex(12)
    upload = desk.upload(number)
    kept = False
    try:
        asked["sha256"] = await run_in_threadpool(_save, file, upload, True)
        body = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
        there = await run_in_threadpool(desk.add_job, number, key.id, asked, body, token)
        if there is not None:
            return there
        kept = True
        try:
            feature = await run_in_threadpool(desk.feature, upload)
            await run_in_threadpool(desk.check_new, asked, feature)
        except Refusal as refusal:
            if refusal.status == 503:
                desk.database.forget(number)
                kept = False
                raise
            desk.finish(number, refusal.status, refusal.as_json())
        else:
            desk.start_job(number)
        job = desk.database.job(number)
        assert job is not None
        return job
    finally:
        if not kept:
            upload.unlink(missing_ok=True)


def _save(file: UploadFile, path: Path, durable: bool) -> str:
    """Write an upload to the disk, and return its SHA-256."""
    with path.open("xb") as there:
        shutil.copyfileobj(file.file, there, 1 << 20)
        if durable:
            there.flush()
            os.fsync(there.fileno())
    with path.open("rb") as there:
        return hashlib.file_digest(there, "sha256").hexdigest()


def _name_of(file: UploadFile) -> str:
    """The name of an uploaded file, without folders and control characters."""
    last = re.split(r"[/\\]", file.filename or "")[-1]
    name = "".join(c for c in last if c.isprintable())[:255].strip()
    return name or "picture"


def _metadata(text: str | None) -> Metadata | None:
    return None if text is None else _parsed(TypeAdapter(Metadata), text, "metadata")


def _filter(text: str | None) -> str | None:
    if text is None:
        return None
    conditions = _parsed(TypeAdapter(list[Comparison]), text, "filters")
    return " AND ".join(each.as_filter() for each in conditions) or None


def _parsed(kind: TypeAdapter[Any], text: str, field: str) -> Any:
    try:
        return kind.validate_json(text)
    except ValidationError as error:
        raise Refusal(422, f"{field}: {error.errors()[0]['msg']}") from None


def _wait(prefer: str | None) -> float:
    """Seconds of ``Prefer: wait=N``."""
    given = re.search(r"(?:^|[,;\s])wait=(\d{1,6})", prefer or "")
    return min(float(given[1]), _LONGEST_WAIT) if given else 0.0


def _checked(number: int) -> int:
    if not 0 <= number <= _LARGEST_ID:
        raise Refusal(404, "there is no such image")
    return number


def _job_view(job: Job) -> JobView:
    answer: Mapping[str, Any] | None = job.answer
    return JobView(
        id=job.id,
        state=job.state,
        created=job.created,
        changed=job.changed,
        status=job.status,
        answer=None if answer is None else dict(answer),
    )
