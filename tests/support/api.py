"""The API over an index in memory, of made-up records."""

import json
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from copy import copy
from dataclasses import replace
from typing import Any

from function_app.api.gate import Gate
from function_app.api.messages import Request, Response
from function_app.api.router import Router
from function_app.api.service import FindImageTexts, Service, Writing
from function_app.api.wiring import build_router
from function_app.homes import Home, SegmentsHome
from indexer_core.access import Caller
from indexer_core.adapters.faiss_vectors import FlatFp16Vectors
from indexer_core.audit import AuditRecord, AuditRows
from indexer_core.image_texts import text_tower
from indexer_core.index.adoption import QueryReader
from indexer_core.index.commit import Manifests, commit
from indexer_core.index.reader import Reader
from indexer_core.index.segment import SegmentWriter
from indexer_core.index.updates import AddSegment, Update
from indexer_core.sources import Sources
from indexer_core.stores import Stores
from indexer_core.testing.memory import (
    ManualClock,
    MemoryBlobs,
    MemoryQueue,
    MemoryRows,
    SequentialIds,
)
from tests.support.segments import (
    LINEAGE,
    OPEN,
    TEXT,
    TEXT_DIMENSION,
    row,
    unit_vectors,
    write_segment,
)

SECRET = b"sixteen bytes or more"


class Encoder:
    """Any text has a vector of its own."""

    encoder_id = TEXT
    dimension = TEXT_DIMENSION

    def encode(self, texts):
        assert len(texts) == 1
        return unit_vectors(texts[0], 1, TEXT_DIMENSION)


def record(key: str, **said: Any) -> dict[str, Any]:
    """A whole record; `said` changes it."""
    return {
        "seriesKey": key,
        "scope": "a",
        "seriesInstanceUid": key,
        "studyInstanceUid": "1.2",
        "revision": 1,
        "modality": "MR",
        "headerModality": None,
        "bodyRegion": "head",
        "bodyPart": None,
        "plane": "axial",
        "sequence": [],
        "contrast": "unknown",
        "instances": 1,
        "frames": 1,
        "hasPixels": True,
        "sliceThicknessMm": None,
        "fieldStrengthT": None,
        "manufacturer": None,
        "model": None,
        "ageYears": None,
        "sex": None,
        "studyDate": None,
        "patientKey": None,
        "descriptions": [],
        "texts": [f"{key} {number}" for number in range(5)],
        "flags": [],
        "evidence": {"plane": {"value": "axial", "source": "geometry", "confidence": 1.0}},
        **said,
    }


MakeHome = Callable[[Stores, Reader], Home]


def on_segments(stores: Stores, reader: Reader) -> Home:
    """The first home of an index."""
    queries = QueryReader(reader, Manifests(stores.index), find=lambda _: Encoder())
    return SegmentsHome(reader, queries)


class Api:
    """An index of these records by key, and what answers from it to callers of these scopes."""

    def __init__(
        self,
        records: Mapping[str, Mapping[str, Any]],
        *,
        scopes: frozenset[str] | None = None,
        gate: Gate | None = None,
        writing: Writing = nullcontext,
        image_texts: FindImageTexts = text_tower,
        viewer: str | None = None,
        home: MakeHome = on_segments,
    ) -> None:
        self.clock = ManualClock()
        ids = SequentialIds()
        queue = MemoryQueue(self.clock, ids)
        self.stores = Stores(
            index=MemoryBlobs(self.clock),
            blobs=MemoryRows(),
            instances=MemoryRows(),
            open_series=MemoryRows(),
            reject_rows=MemoryRows(),
            jobs=MemoryRows(),
            audit=MemoryRows(),
            blob_events=queue,
            series_checks=queue,
            series_ready=queue,
            poison=queue,
            sources=Sources([]),
            clock=self.clock,
            ids=ids,
        )
        self.scopes = scopes
        self.manifests = Manifests(self.stores.index)
        self._n_writes = 0
        self._writer = SegmentWriter(self.stores.index, FlatFp16Vectors())
        commit(self.manifests, OPEN, commit_id="open", lineage=LINEAGE)
        self.add(records)
        self._router_of = lambda stores, home: build_router(
            stores,
            Service(
                stores,
                home(stores, stores.reader(FlatFp16Vectors())),
                tracing=stores.reader(FlatFp16Vectors()),
                exact=None,
                writing=writing,
                image_texts=image_texts,
                viewer=viewer,
            ),
            authenticate=lambda _: Caller(id="somebody", scopes=self.scopes),
            secret=SECRET,
            gate=gate,
        )
        self.router: Router = self._router_of(self.stores, home)

    def beside(self, home: MakeHome, stores: Stores | None = None) -> "Api":
        """The same index asked through another home, and through stores of its own."""
        other = copy(self)
        other.stores = stores or self.stores
        other.router = self._router_of(other.stores, home)
        return other

    def add(
        self,
        records: Mapping[str, Mapping[str, Any]],
        *,
        revision: int = 1,
        alive: bool = True,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """One more commit; `facts`: of each series, where they matter."""
        if not records:
            return
        self._n_writes += 1
        write_id = f"w{self._n_writes}"
        rows = [
            row(key, revision, write_id, record=said, alive=alive)
            for key, said in sorted(records.items())
        ]
        if facts is not None:
            rows = [replace(each, facts=facts) for each in rows]
        self.commit(AddSegment(segment=write_segment(self._writer, write_id, rows)))
        for key, said in records.items():
            uids = {
                "series_instance_uid": said["seriesInstanceUid"],
                "study_instance_uid": said["studyInstanceUid"],
            }
            values = {"scope": said["scope"], "facts": json.dumps(uids), "gone": False}
            self.stores.instances.insert(key, "1", values)

    def commit(self, update: Update) -> None:
        """Commit anything else."""
        number = self.manifests.newest().number
        commit(self.manifests, update, commit_id=f"c{number}", lineage=LINEAGE)

    def ask(
        self,
        method: str,
        path: str,
        *,
        query: tuple[tuple[str, str], ...] = (),
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """The response to a request; a body that is no bytes is sent as JSON."""
        sent = (
            body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        )
        told = {"content-type": "application/json"} if sent else {}
        return self.router.handle(
            Request(
                method=method,
                path=path,
                query=query,
                headers={**told, **(headers or {})},
                body=sent,
            )
        )

    def told(self, method: str, path: str, **asked: Any) -> Any:
        """The JSON of an answer that is one."""
        response = self.ask(method, path, **asked)
        assert response.status == 200, response.body
        return json.loads(response.body)

    def audited(self) -> list[AuditRecord]:
        """The records kept so far."""
        return list(AuditRows(self.stores.audit, self.stores.ids).all())


def problem_of(response: Response) -> str:
    """The code of a problem document that has its form."""
    assert response.headers["content-type"] == "application/problem+json"
    document = json.loads(response.body)
    assert document["status"] == response.status
    assert {"type", "title", "code"} <= set(document)
    return document["code"]
