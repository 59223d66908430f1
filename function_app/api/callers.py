"""Who a request comes from, as each host can tell."""

import hmac

from function_app.api.messages import Request
from function_app.api.router import Authenticate
from indexer_core.access import Access, AccessError, Caller, Refusal, parse_principal

PRINCIPAL = "x-ms-client-principal"


def azure_callers(access: Access, *, easy_auth: bool) -> Authenticate:
    """Callers of the Functions app.

    With Easy Auth the platform sets the principal's header, and removes what a client sent by that
    name. Without it the header is ignored, whoever sent it: the host has checked a key.
    """

    def authenticate(request: Request) -> Caller:
        if not easy_auth:
            return access.of_key()
        header = request.headers.get(PRINCIPAL)
        if header is None:
            raise AccessError(Refusal.UNAUTHENTICATED, "sign in with Microsoft Entra ID")
        return access.of_principal(parse_principal(header))

    return authenticate


def local_callers(scopes: frozenset[str] | None, token: str | None) -> Authenticate:
    """Callers of one machine: all see the same scopes; where there is a token, they have it."""

    def authenticate(request: Request) -> Caller:
        if token is not None:
            kind, _, given = request.headers.get("authorization", "").partition(" ")
            is_right = hmac.compare_digest(given.strip().encode(), token.encode())
            if kind.lower() != "bearer" or not is_right:
                raise AccessError(
                    Refusal.UNAUTHENTICATED, "send the header Authorization: Bearer TOKEN"
                )
        return Caller(id="local", scopes=scopes)

    return authenticate
