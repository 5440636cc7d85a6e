"""The desk: searches and registrations of a store that several clients share.

Searches are batched and go through one worker process; registrations are jobs in ``service.sqlite``
that survive a kill, activated by worker processes of lower priority, and added by one writer. A
picture is registered when the store has it: after a kill, jobs without an answer are taken up
again, and those that the store has already are only answered.
"""

import contextlib
import errno
import logging
import os
import queue
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from activeindex.decisions.decision import MATCH, REVIEW
from activeindex.errors import ActiveIndexError, InputError
from activeindex.extractors.base import Extractor
from activeindex.indexing.search import EFFORT
from activeindex.runtime.files import make_folder
from activeindex.runtime.locking import BusyError
from activeindex.runtime.pool import WorkerProcess
from activeindex.service.database import Database, Job
from activeindex.service.metrics import Metrics
from activeindex.service.work import ActivateUpload, ExtractUploads, Feature, Release, Wish
from activeindex.stores.address import Address
from activeindex.stores.ingest import NewImages
from activeindex.stores.query import QueryResult, answers
from activeindex.stores.records import Record
from activeindex.stores.store import Store

_log = logging.getLogger(__name__)

_Result = TypeVar("_Result")

_BATCH, _PATIENCE = 16, 0.005
"""Uploads that are extracted together, and seconds that the first of them waits for others."""

_SECONDS = 30.0
"""Of decoding and extracting an upload; a process that takes longer is ended."""

_ACTIVATION_SECONDS = 600.0

_BUSY_SECONDS = 10.0
"""For which a write waits for one of another process."""

_LEAST_DISK = 64 << 20
"""Free bytes without which nothing is registered."""

_NICENESS = 10


@dataclass(frozen=True)
class Limits:
    """Limits of the service.

    Attributes:
        bytes: Of an upload.
        pixels: Of a picture.
        seconds: In which an upload has to arrive.
        searches: Waiting at once.
        registrations: Waiting at once.
        of_a_key: Searches and registrations of one key that wait at once.
    """

    bytes: int = 20_000_000
    pixels: int = 50_000_000
    seconds: float = 30.0
    searches: int = 64
    registrations: int = 1_000
    of_a_key: int = 500


class Refusal(Exception):  # noqa: N818
    """A request that is not done, with its HTTP status.

    Attributes:
        status: The status.
        detail: A line that says why.
        more: Further fields of the answer.
    """

    def __init__(self, status: int, detail: str, **more: Any) -> None:
        super().__init__(detail)
        self.status, self.detail, self.more = status, detail, more

    def as_json(self) -> dict[str, Any]:
        """The answer as ``application/problem+json`` has it (RFC 9457)."""
        from http import HTTPStatus

        title = HTTPStatus(self.status).phrase
        problem = {"type": "about:blank", "title": title, "status": self.status}
        return {**problem, "detail": self.detail, **self.more}


class FullError(Refusal):
    """A queue is full, or nothing can be written now; try again later."""

    def __init__(self, detail: str) -> None:
        super().__init__(503, detail)


@dataclass(frozen=True, eq=False)
class _Upload:
    """An upload that waits for its feature; ``answer`` is told it."""

    path: Path
    answer: "queue.SimpleQueue[Feature | str | BaseException]"


class Desk(contextlib.AbstractContextManager["Desk"]):
    """Searches and registrations of a store.

    Args:
        store: Folder of the store.
        extractor: Extractor of the store.
        limits: Limits.
        workers: Processes that activate.
        metrics: Counts what is done.
    """

    def __init__(
        self, store: Path, extractor: Extractor, limits: Limits, workers: int, metrics: Metrics
    ) -> None:
        self.limits, self.metrics = limits, metrics
        self._closing = threading.Event()
        with contextlib.ExitStack() as held:
            self.store = held.enter_context(Store(store))
            self.store.check_extractor(extractor.identity, extractor.dimension)
            self.database = held.enter_context(Database(store))
            self.uploads = self.database.folder / "uploads"
            self.released = self.database.folder / "released"
            for folder in (self.uploads, self.released):
                make_folder(folder)
            index = self.store.generations[-1].trained
            pixels = limits.pixels
            self._extracting = held.enter_context(WorkerProcess(ExtractUploads(extractor, pixels)))
            activate = ActivateUpload(extractor, index, self.released, pixels, _NICENESS)
            self._activating = [
                held.enter_context(WorkerProcess(activate)) for _ in range(max(workers, 1))
            ]
            self._waiting: queue.Queue[_Upload | None] = queue.Queue(limits.searches)
            self._jobs: queue.Queue[str | None] = queue.Queue()
            self._done: dict[str, threading.Event] = {}
            self._writing = threading.Lock()
            self._held = held.pop_all()
        self._take_up()
        self._threads = [threading.Thread(target=self._extract, daemon=True)]
        self._threads += [
            threading.Thread(target=self._register, args=(worker,), daemon=True)
            for worker in self._activating
        ]
        for thread in self._threads:
            thread.start()

    @classmethod
    def opened(cls, address: str | os.PathLike[str], **options: Any) -> "Desk":
        """Open a store, or make one with the index of the package where there is none."""
        from activeindex.stores.address import STORE_FILE

        path = Address.parse(address, create=True).path
        if not (path / STORE_FILE).exists():
            Store.create(address).close()
        return cls(path, **options)

    # Searches

    def feature(self, path: Path) -> Feature:
        """Feature ``(d,)`` of an upload.

        Raises:
            Refusal: If it is no picture (422), takes too long, or too many wait.
        """
        upload = _Upload(path, queue.SimpleQueue())
        try:
            self._waiting.put_nowait(upload)
        except queue.Full:
            raise FullError("too many searches wait; try again later") from None
        found = upload.answer.get()
        if isinstance(found, BaseException):
            raise found
        if isinstance(found, str):
            raise Refusal(422, found)
        return found

    def _extract(self) -> None:
        """Batch uploads, and have their features extracted, until the desk closes."""
        while (first := self._waiting.get()) is not None:
            batch, until = [first], time.monotonic() + _PATIENCE
            while len(batch) < _BATCH and (left := until - time.monotonic()) > 0:
                try:
                    upload = self._waiting.get(timeout=left)
                except queue.Empty:
                    break
                if upload is None:
                    self._waiting.put(None)
                    break
                batch.append(upload)
            self.metrics.batch.observe(len(batch))
            for upload, found in zip(batch, self._features(batch), strict=True):
                upload.answer.put(found)

    def _features(self, batch: Sequence[_Upload]) -> Sequence[Feature | str | BaseException]:
        try:
            features: list[Feature | str] = self._extracting.call(
                [upload.path for upload in batch], _SECONDS
            )
            return features
        except TimeoutError:
            if len(batch) == 1:
                return [Refusal(422, f"the picture is not decoded within {_SECONDS:g} s")]
        except ActiveIndexError as error:
            if len(batch) == 1:
                _log.warning("a worker ended on an upload: %s", error)
                return [Refusal(422, "the picture cannot be decoded")]
        except Exception as error:  # A bug of this program must not end the thread.
            _log.exception("features of uploads")
            return [error] * len(batch)
        # One of them is at fault, and fails alone.
        return [found for upload in batch for found in self._features([upload])]

    def search(self, name: str, feature: Feature, k: int, **options: Any) -> QueryResult:
        """Search the store for a feature; options as of ``Store.search``."""
        [found] = answers(self.store, [name], feature[None], k, **options)
        return found

    def feature_of(self, number: int) -> Feature:
        """Stored feature ``(d,)`` of an image.

        Raises:
            Refusal: If there is no such image (404).
        """
        for generation in self.store.generations:
            ids = np.array([number], np.int64)
            if generation.rows(("id",), "id", [number]):
                feature: Feature = generation.features(ids)[0]
                return feature
        raise Refusal(404, f"there is no image {number}")

    # Registrations

    def add_job(
        self, number: str, key: str, request: Mapping[str, Any], body: str, token: str | None
    ) -> Job | None:
        """Begin a registration; return the one of the same token instead, if there is one.

        Raises:
            Refusal: If the token was used for another request (422), that one is still running
                (409), or too many wait (503).
        """
        if self._jobs.qsize() >= self.limits.registrations:
            raise FullError("too many registrations wait; try again later")
        there = self.database.begin(number, key, request, body, token)
        if there is None:
            self._done[number] = threading.Event()
            return None
        if there.body != body:
            raise Refusal(422, "Idempotency-Key: it was used for another request")
        if there.status is None:
            raise Refusal(409, "Idempotency-Key: its request is still running", job=there.id)
        return there

    def start_job(self, number: str) -> None:
        """Queue a job."""
        self._jobs.put(number)

    def wait(self, number: str, seconds: float) -> Job | None:
        """The job of an id, after its end or so many seconds."""
        done = self._done.get(number)
        if done is not None and seconds > 0:
            done.wait(seconds)
        return self.database.job(number)

    def finish(self, number: str, status: int, answer: Mapping[str, Any], *released: Any) -> None:
        """Answer a job."""
        self.database.finish(number, status, answer, released or None)
        self.metrics.registrations.labels("done" if status < 300 else "refused").inc()
        if (event := self._done.pop(number, None)) is not None:
            event.set()
        self.upload(number).unlink(missing_ok=True)

    def upload(self, number: str) -> Path:
        """File of the upload of a job."""
        return self.uploads / number

    def check_new(self, request: Mapping[str, Any], feature: Feature) -> None:
        """Check that the store has neither the name nor the picture.

        Raises:
            Refusal: If it does (409).
        """
        if len(there := self.store.named([request["name"]])):
            raise Refusal(
                409, "the store has an image of this name; choose another", id=int(there[0])
            )
        if request["allow_duplicate"]:
            return
        found = self.search("", feature, 1, refine=1)
        for match in found.matches:
            copied = found.decision == "match" or match.record.sha256 == request["sha256"]
            if copied:
                raise Refusal(
                    409,
                    "the store has this picture, or one that is nearly the same; send "
                    "allow_duplicate=true to register it nevertheless",
                    id=match.record.id,
                    expected_false_matches=match.expected_false_matches,
                )

    def _take_up(self) -> None:
        """Queue the jobs that a killed process left, and remove uploads of no job."""
        waiting = self.database.open_jobs()
        for number in waiting:
            self._done[number] = threading.Event()
            if self.upload(number).is_file():
                self._jobs.put(number)
            else:
                self.finish(number, 500, Refusal(500, "the upload was lost").as_json())
        for path in self.uploads.iterdir():
            if path.name not in waiting:
                path.unlink(missing_ok=True)
        for path in self.released.iterdir():
            if path.is_file():
                path.unlink(missing_ok=True)

    def _register(self, worker: WorkerProcess) -> None:
        """Take job after job, until the desk closes."""
        while (number := self._jobs.get()) is not None and not self._closing.is_set():
            refused: Refusal | None = None
            try:
                self._registered(number, worker)
            except Refusal as refusal:
                refused = refusal
            except (ActiveIndexError, OSError) as error:
                if self._closing.is_set():
                    return  # The next start takes it up.
                refused = as_refusal(error, self.released)
            except Exception:  # A bug of this program must not end the thread.
                _log.exception("registration %s", number)
                refused = Refusal(500, "internal error")
            if refused is not None:
                # Where even that cannot be written, the next start takes the job up.
                with contextlib.suppress(OSError):
                    self.finish(number, refused.status, refused.as_json())

    def _registered(self, number: str, worker: WorkerProcess) -> None:
        job = self.database.job(number)
        if job is None or job.status is not None:
            return
        request = job.request
        self.database.set_running(number)
        check_disk(self.released)
        if there := self._record_of(request):  # A killed process has added it.
            file = (there.activation or {}).get("output", "")
            self.finish(number, 201, self.image(there), there.id, file, job.key)
            return
        wish = Wish(self.upload(number), *(request[n] for n in ("name", "preset", "format")))
        start = time.perf_counter()
        try:
            release = worker.call(replace(wish, quality=request["quality"]), _ACTIVATION_SECONDS)
        except TimeoutError as error:
            raise Refusal(422, f"the picture cannot be activated: {error}") from None
        if isinstance(release, str):
            raise Refusal(422, release)
        self.metrics.activation.observe(time.perf_counter() - start)
        with self._writing:  # Two registrations of one picture must not pass the check together.
            self.check_new(request, release.feature)
            added = self.written(partial(self._add, request, release))
        [record] = self.store.get(added.ids)
        answer = {**self.image(record), "warnings": [*release.warnings]}
        self.finish(number, 201, answer, record.id, release.file, job.key)

    def _record_of(self, request: Mapping[str, Any]) -> Record | None:
        records = self.store.get(self.store.named([request["name"]]))
        return next((each for each in records if each.sha256 == request["sha256"]), None)

    def _add(self, request: Mapping[str, Any], release: Release) -> Any:
        name = request["name"]
        return self.store.add(
            NewImages([name], release.feature[None], {name: release.record}),
            released_features=release.released_feature[None],
            thumbnails=[release.thumbnail],
            tags=[request["tags"]],
            metadata=[request["metadata"]],
        )

    def written(self, write: Callable[[], _Result]) -> _Result:
        """Write to the store, and wait while another process does.

        Raises:
            Refusal: If that takes too long (503), or the disk is full (507).
        """
        until = time.monotonic() + _BUSY_SECONDS
        while True:
            try:
                return write()
            except BusyError:
                if time.monotonic() > until:
                    raise FullError("another process writes to the store; try later") from None
                time.sleep(0.02)
            except (OSError, ActiveIndexError) as error:
                if isinstance(error, InputError):
                    raise
                raise as_refusal(error, self.released) from error

    # Images

    def image(self, record: Record) -> dict[str, Any]:
        """The fields of an image in the API."""
        activation = record.activation or {}
        measures = {name: activation.get(name) for name in ("psnr", "ssim", "linf")}
        link = f"/v1/images/{record.id}"
        return {
            "id": record.id,
            "name": record.name,
            "sha256": record.sha256,
            "activated": record.activated,
            **measures,
            "tags": [*record.tags],
            "metadata": record.metadata,
            "disabled_until": record.disabled_until,
            "links": {
                "self": link,
                "released": f"{link}/released",
                "thumbnail": f"{link}/original-thumbnail",
            },
        }

    def record(self, number: int) -> Record:
        """The record of an image.

        Raises:
            Refusal: If there is none (404).
        """
        if not (found := self.store.get([number])):
            raise Refusal(404, f"there is no image {number}")
        return found[0]

    def remove(self, number: int) -> None:
        """Remove an image, and its released file if no other image has it.

        Raises:
            Refusal: If there is no such image (404).
        """
        if not self.written(partial(self.store.remove, [number])):
            raise Refusal(404, f"there is no image {number}")
        if file := self.database.forget_released(number):
            (self.released / file).unlink(missing_ok=True)

    def released_file(self, number: int) -> Path:
        """The released file of an image.

        Raises:
            Refusal: If there is none here (404).
        """
        file = self.database.released_file(number)
        if file is None or not (self.released / file).is_file():
            self.record(number)
            raise Refusal(404, f"image {number} has no released file here")
        return self.released / file

    def ready(self) -> str | None:
        """Why nothing can be searched or registered now; None if it can."""
        if not all(thread.is_alive() for thread in self._threads):
            return "a worker thread has ended"
        try:
            self.store.count()
            check_disk(self.released)
        except (ActiveIndexError, Refusal) as error:
            return str(error)
        return None

    def queued(self) -> dict[str, int]:
        """Searches and registrations that wait."""
        return {"search": self._waiting.qsize(), "register": self._jobs.qsize()}

    def close(self) -> None:
        """Finish what is being computed, leave the queued jobs for the next start, and close."""
        self._closing.set()
        self._waiting.put(None)
        for _ in self._activating:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join(_SECONDS)
        self._held.close()

    def __exit__(self, *_: object) -> None:
        self.close()


def check_disk(folder: Path) -> None:
    """Check that something can be written.

    Raises:
        Refusal: If the disk is nearly full (507).
    """
    if shutil.disk_usage(folder).free < _LEAST_DISK:
        raise Refusal(507, "the disk of the service is full")


def as_refusal(error: Exception, folder: Path) -> Refusal:
    """The refusal for an error of a write."""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if full or "disk is full" in str(error) or shutil.disk_usage(folder).free < _LEAST_DISK:
        return Refusal(507, "the disk of the service is full")
    _log.warning("%s", error)
    return Refusal(500, "the store cannot be written; see the log of the service")


DEFAULTS: Mapping[str, Any] = {"match": MATCH, "review": REVIEW, "effort": EFFORT}
"""Defaults of a search, as of ``activeindex search``."""
