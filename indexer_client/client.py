"""The client: one method per operation."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from indexer_client.cohorts import Cohort, News
from indexer_client.counts import Facet
from indexer_client.tables import Found
from indexer_client.transport import Transport

if TYPE_CHECKING:
    import pyarrow as pa

LOCAL = "http://127.0.0.1:8080"


class Client:
    """Asks a service: `dicom-indexer serve`, or the Functions app.

    Parameters
    ----------
    address
        Of the service, without ``/api``.
    key
        A function key.
    token
        Gives a bearer token (Entra ID), asked for before every request: for example
        ``lambda: credential.get_token("api://.../.default").token`` with azure-identity.
    purpose
        Why questions are asked; the service keeps it with its record of who asked.

    Every method raises `ApiProblemError` where the service refuses, and `UnreachableError` where it
    was not reached.
    """

    def __init__(
        self,
        address: str = LOCAL,
        *,
        key: str | None = None,
        token: Callable[[], str] | None = None,
        purpose: str | None = None,
        timeout_s: float = 60.0,
    ) -> None:
        self._transport = Transport(
            address, key=key, token=token, purpose=purpose, timeout_s=timeout_s
        )

    def __enter__(self) -> Self:
        """The client itself; it is closed at the end."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Let go of connections."""
        self._transport.close()

    def search(
        self,
        text: str,
        *,
        filters: Sequence[str] = (),
        top: int = 10,
        level: str = "series",
        with_unknown: Sequence[str] = (),
        interpret: bool = True,
        manifest: int | None = None,
    ) -> Found:
        """The series that fit a description best.

        Parameters
        ----------
        filters
            Conditions such as ``modality=MR`` or ``ageYears>=60``, all to be met.
        top
            How many at most; `pages` goes on from there.
        level
            "series", "study" or "patient": each is told by its best series.
        with_unknown
            Fields that a series may have unknown, whatever is asked of them.
        interpret
            Whether the words are read for filters, too; how is in ``raw["interpretation"]``.
        manifest
            The state of the index to answer from; None: the newest.
        """
        body = {
            "text": text,
            "filters": list(filters),
            "top": top,
            "level": level,
            "withUnknown": list(with_unknown),
            "interpret": interpret,
            **({} if manifest is None else {"manifest": manifest}),
        }
        return Found.from_json(self._transport.json("POST", "/api/search", body=body), body)

    def list_series(
        self,
        *,
        filters: Sequence[str] = (),
        series: Sequence[str] | None = None,
        sort: str = "-studyDate",
        top: int = 100,
        with_unknown: Sequence[str] = (),
        manifest: int | None = None,
    ) -> Found:
        """All series that meet conditions, in the order of a field.

        Parameters
        ----------
        series
            Only these are looked at: UIDs, keys or short keys, up to 100,000. None: all.
        sort
            A field, with ``-`` before it the greatest first; what is unknown comes last.
        top
            How many at most, up to 500; `pages` goes on from there.
        """
        body = {
            "filters": list(filters),
            "withUnknown": list(with_unknown),
            "sort": sort,
            "top": top,
            **({} if series is None else {"series": list(series)}),
            **({} if manifest is None else {"manifest": manifest}),
        }
        return Found.from_json(self._transport.json("POST", "/api/series", body=body), body)

    def pages(self, first: Found) -> Iterator[Found]:
        """A page of any answer and all that follow it, from the same state of the index."""
        page = first
        yield page
        while page.next_link is not None:
            question = page.question
            method = "GET" if question is None else "POST"
            answer = self._transport.json(method, page.next_link, body=question)
            page = Found.from_json(answer, question)
            yield page

    def series(self, uid: str) -> Found:
        """All that is known of the series with this UID or key."""
        return Found.from_json(self._transport.json("GET", f"/api/series/{_part(uid)}"))

    def similar(self, uid: str, *, filters: Sequence[str] = (), top: int = 10) -> Found:
        """Series that look like the one with this UID or key."""
        path, query = f"/api/series/{_part(uid)}/similar", {"filter": list(filters), "top": top}
        return Found.from_json(self._transport.json("GET", path, query=query))

    def similar_to(
        self, picture: Path | bytes, *, filters: Sequence[str] = (), top: int = 10
    ) -> Found:
        """Series that look like a DICOM, PNG or JPEG file; the service keeps nothing of it."""
        data = picture if isinstance(picture, bytes) else picture.read_bytes()
        query = {"filter": list(filters), "top": top}
        kind = "application/octet-stream"
        answer = self._transport.json("POST", "/api/similar", query=query, data=data, kind=kind)
        return Found.from_json(answer)

    def pictures(self, text: str, *, filters: Sequence[str] = (), top: int = 10) -> Found:
        """Series whose pictures show what the words say, where the service has such a model."""
        query = {"q": text, "filter": list(filters), "top": top}
        return Found.from_json(self._transport.json("GET", "/api/similar", query=query))

    def facets(
        self,
        fields: Sequence[str],
        *,
        filters: Sequence[str] = (),
        least: int = 0,
        manifest: int | None = None,
    ) -> dict[str, Facet]:
        """How many of the series that meet the filters have each value of some fields.

        Parameters
        ----------
        least
            Smaller counts are not told.
        """
        query = {
            "facets": list(fields),
            "filter": list(filters),
            "least": least,
            "manifest": manifest,
        }
        answer = self._transport.json("GET", "/api/facets", query=query)
        return {field: Facet.from_json(field, each) for field, each in answer["facets"].items()}

    def map(self, *, filters: Sequence[str] = ()) -> "pa.Table":
        """Where on the map series are: key, uid, x, y, modality, bodyRegion, provisional."""
        import pyarrow as pa

        query = {"filter": list(filters), "format": "arrow"}
        response = self._transport.request("GET", "/api/map", query=query)
        return pa.ipc.open_stream(response.content).read_all()

    def save_cohort(
        self,
        name: str,
        text: str = "",
        *,
        filters: Sequence[str] = (),
        uids: Sequence[str] = (),
        purpose: str = "",
    ) -> Cohort:
        """Freeze all series that words and filters ask for, or those that are named."""
        body = {
            "name": name,
            "text": text,
            "purpose": purpose,
            **({"uids": list(uids)} if uids else {"filters": list(filters)}),
        }
        return Cohort.from_json(self._transport.json("POST", "/api/cohorts", body=body))

    def cohorts(self) -> list[Cohort]:
        """Every version of every cohort."""
        answer = self._transport.json("GET", "/api/cohorts")
        return [Cohort.from_json(each) for each in answer["value"]]

    def cohort(self, name: str, version: int | None = None, *, least: int = 0) -> Cohort:
        """A cohort with its attrition table and balance card; the newest version by default."""
        query = {"version": version, "least": least}
        return Cohort.from_json(
            self._transport.json("GET", f"/api/cohorts/{_part(name)}", query=query)
        )

    def cohort_series(self, name: str, version: int | None = None) -> Found:
        """The series of a cohort as its manifest had them."""
        path = f"/api/cohorts/{_part(name)}/series"
        return Found.from_json(self._transport.json("GET", path, query={"version": version}))

    def news(self, name: str, version: int | None = None) -> News:
        """What has come, gone and changed since a cohort was drawn."""
        path = f"/api/cohorts/{_part(name)}/news"
        return News.from_json(self._transport.json("GET", path, query={"version": version}))

    def status(self) -> dict[str, Any]:
        """What is indexed, and what is left to do."""
        found: dict[str, Any] = self._transport.json("GET", "/api/status")
        return found

    def trace(self, uid: str) -> list[dict[str, Any]]:
        """Every stage that the series with this UID or key have passed."""
        found: list[dict[str, Any]] = self._transport.json("GET", f"/api/trace/{_part(uid)}")[
            "value"
        ]
        return found


def _part(text: str) -> str:
    """A text as one part of a path."""
    return quote(text, safe="")
