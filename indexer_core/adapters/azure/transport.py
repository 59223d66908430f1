"""Requests of the SDKs, none of which leaves a connection behind."""

from typing import Any

import requests
from azure.core.exceptions import IncompleteReadError
from azure.core.pipeline.transport import RequestsTransport
from requests.adapters import HTTPAdapter

_BLOCK_BYTES = 256 * 1024
_FIRST_ERROR = 300


# azure.core gives the class out by a function, for which there are no types.
class Transport(RequestsTransport):  # type: ignore[misc]
    """The SDK's own transport, but for when connections are let go of.

    An answer that says no is read as soon as it arrives. The SDK asks for a blob in order to stream
    it, and drops the answers that it repeats the request for unread; their connections would stay
    open, in use, until the garbage collector comes across them. And `close` closes what is idle,
    even while somebody still holds an answer that came by it.

    Parameters
    ----------
    connection_timeout_s, read_timeout_s
        How long a connection, and then a silent one, is waited for.
    """

    def __init__(self, *, connection_timeout_s: float, read_timeout_s: float) -> None:
        super().__init__(
            connection_timeout=connection_timeout_s,
            read_timeout=read_timeout_s,
            connection_data_block_size=_BLOCK_BYTES,
        )

    def send(self, request: Any, **options: Any) -> Any:
        """Send; raise what the SDK's transport raises."""
        response = super().send(request, **options)
        if response.status_code >= _FIRST_ERROR:
            try:
                response.body()
            except requests.RequestException as exc:
                response.internal_response.close()
                raise IncompleteReadError(exc, error=exc) from exc
        return response

    def close(self) -> None:
        """Close every connection that is not in use."""
        pools = [] if self.session is None else _pools(self.session)
        super().close()
        for pool in pools:
            pool.close()


def _pools(session: requests.Session) -> list[Any]:
    adapters = [a for a in session.adapters.values() if isinstance(a, HTTPAdapter)]
    pools = [(adapter.poolmanager.pools, adapter.poolmanager.pools.keys()) for adapter in adapters]
    return [of_adapter[key] for of_adapter, keys in pools for key in keys]
