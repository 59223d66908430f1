"""The router of a program, over its stores."""

from typing import Any

from function_app.api.answers import operations_of
from function_app.api.gate import Gate
from function_app.api.openapi import document_of
from function_app.api.router import Authenticate, Router
from function_app.api.service import Service
from indexer_core.audit import AuditRows, audit_key
from indexer_core.stores import Stores

REQUESTS_AT_ONCE = 4
LIMIT_S = 30.0
WAIT_S = 10.0


def build_router(
    stores: Stores,
    service: Service,
    *,
    authenticate: Authenticate,
    secret: bytes,
    gate: Gate | None = None,
) -> Router:
    """The router over an index; `secret` is the one of the patient hash."""
    document: dict[str, Any] = {}
    operations = operations_of(service, document)
    document.update(document_of(operations))
    return Router(
        operations,
        authenticate=authenticate,
        audit=AuditRows(stores.audit, stores.ids),
        audit_key=audit_key(secret),
        gate=gate or Gate(REQUESTS_AT_ONCE, LIMIT_S, wait_s=WAIT_S),
        clock=stores.clock,
    )
