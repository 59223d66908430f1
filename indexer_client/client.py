"""The client: one method per operation."""

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from indexer_client.tables import Found
from indexer_client.transport import Transport

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
        **more: Any,
    ) -> Found:
        """The series that fit a description best.

        Parameters
        ----------
        filters
            Conditions such as ``modality=MR`` or ``ageYears>=60``, all to be met.
        top
            Series at most; `pages` goes on from there.
        more
            Further names of the request, as docs/api.md lists them.
        """
        body = {"text": text, "filters": list(filters), "top": top, **more}
        return Found.from_json(self._transport.json("POST", "/api/search", body=body))

    def series(self, uid: str) -> Found:
        """All that is known of the series with this UID or key."""
        path = f"/api/series/{quote(uid, safe='')}"
        return Found.from_json(self._transport.json("GET", path))
