"""Between Azure Functions' requests and responses and those of the API and of the page."""

from functools import lru_cache
from urllib.parse import parse_qsl, unquote, urlsplit

import azure.functions as func

from function_app.api.messages import ApiError, Request, Response, problem_response
from function_app.api.router import api_error
from function_app.page import Page, read_page
from function_app.program import program
from indexer_core.errors import IndexerError

# What the host reads itself: the key, and the name of the key.
_OF_THE_HOST = frozenset(("code", "clientid"))
_MAX_PARAMETERS = 256


def answered(req: func.HttpRequest) -> func.HttpResponse:
    """The answer of the API to a request."""
    try:
        response = program().api.handle(request_of(req))
    except (ApiError, IndexerError) as error:  # the address, or the app's settings
        response = problem_response(api_error(error))
    return response_of(response)


def page_answered(req: func.HttpRequest) -> func.HttpResponse:
    """The answer of the page, which lies under ``/explorer/``, to a request."""
    try:
        response = _page().answer(request_of(req))
    except ApiError as error:  # the address
        response = problem_response(error)
    if response is None:
        response = problem_response(ApiError("notFound", "the page has no such file"))
    if req.method == "HEAD":
        response = Response(status=response.status, headers=response.headers, body=b"")
    return response_of(response)


@lru_cache(maxsize=1)
def _page() -> Page:
    return read_page("/explorer/")


def request_of(req: func.HttpRequest) -> Request:
    """What a client sent.

    Raises
    ------
    ApiError
        Its address is not UTF-8.
    """
    try:
        address = urlsplit(req.url)
        path = unquote(address.path, errors="strict")
        query = parse_qsl(
            address.query, keep_blank_values=True, errors="strict", max_num_fields=_MAX_PARAMETERS
        )
    except ValueError as error:
        raise ApiError("invalidInput", "the address cannot be read") from error
    return Request(
        method=str(req.method),
        path=path,
        query=tuple((name, value) for name, value in query if name.lower() not in _OF_THE_HOST),
        headers={name.lower(): value for name, value in req.headers.items()},
        body=req.get_body(),
    )


def response_of(response: Response) -> func.HttpResponse:
    """The same in the words of Functions."""
    # The content type among the headers is passed on as it is; as `mimetype` it would be changed.
    return func.HttpResponse(
        response.body, status_code=response.status, headers=dict(response.headers)
    )
