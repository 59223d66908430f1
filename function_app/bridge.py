"""Between Azure Functions' requests and responses and those of the API."""

from urllib.parse import parse_qsl, unquote, urlsplit

import azure.functions as func

from function_app.api.messages import ApiError, Request, Response, problem_response
from function_app.api.router import api_error
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
    headers = dict(response.headers)
    kind = headers.pop("content-type")
    return func.HttpResponse(
        response.body, status_code=response.status, headers=headers, mimetype=kind
    )
