"""The Azure Functions app (Python v2 model): triggers only; what they do is in `handlers`.

Queue names and the connection setting are those of infra/bicep. Every trigger hands its message to
the handler that the one-machine runner calls, too.
"""

import json
import os
from typing import Any

import azure.functions as func

from function_app import handlers
from function_app.api.messages import json_response
from function_app.bridge import answered, page_answered, response_of
from function_app.program import program
from indexer_core.adapters.azure.settings import read_easy_auth

CONNECTION = "IndexerStorage"
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
# Bindings are made when the host imports this, so the environment is read here. With Easy Auth the
# router asks for the principal of a token, and the host for no key beside it.
_LEVEL = func.AuthLevel.ANONYMOUS if read_easy_auth(os.environ) else func.AuthLevel.FUNCTION

queues = func.Blueprint()  # type: ignore[no-untyped-call]
timers = func.Blueprint()  # type: ignore[no-untyped-call]
push = func.Blueprint()  # type: ignore[no-untyped-call]
http = func.Blueprint()  # type: ignore[no-untyped-call]


def _body(message: func.QueueMessage) -> str:
    return message.get_body().decode("utf-8")


@queues.function_name("ingest")
@queues.queue_trigger(arg_name="message", queue_name="blob-events", connection=CONNECTION)
def ingest(message: func.QueueMessage) -> None:
    """Look at the blobs that an event names."""
    handlers.ingest(_body(message), program().services)


@queues.function_name("series_check")
@queues.queue_trigger(arg_name="message", queue_name="series-check", connection=CONNECTION)
def series_check(message: func.QueueMessage) -> None:
    """Close a series that has gone quiet."""
    handlers.series_check(_body(message), program().services)


@queues.function_name("ingest_poison")
@queues.queue_trigger(arg_name="message", queue_name="blob-events-poison", connection=CONNECTION)
def ingest_poison(message: func.QueueMessage) -> None:
    """File an event that failed every time, message and reason, for `replay`."""
    handlers.poison("blob-events", _body(message), program().services)


@queues.function_name("series_check_poison")
@queues.queue_trigger(arg_name="message", queue_name="series-check-poison", connection=CONNECTION)
def series_check_poison(message: func.QueueMessage) -> None:
    """File a check that failed every time."""
    handlers.poison("series-check", _body(message), program().services)


@timers.function_name("sweep")
@timers.timer_trigger(arg_name="timer", schedule="0 */5 * * * *")
def sweep(timer: func.TimerRequest) -> None:
    """Send checks and hand-overs that may have got lost."""
    del timer
    current = program()
    handlers.sweep(current.services, older_than_s=10 * current.settings.quiet_s)


@timers.function_name("reconcile")
@timers.timer_trigger(arg_name="timer", schedule="0 0 3 * * *")
def reconcile(timer: func.TimerRequest) -> None:
    """Compare storage with the index, and enqueue looks where they differ."""
    del timer
    program().reconcile()


@push.function_name("blob_event_push")
@push.event_grid_trigger(arg_name="event")
@push.queue_output(arg_name="forward", queue_name="blob-events", connection=CONNECTION)
def blob_event_push(event: func.EventGridEvent, forward: func.Out[str]) -> None:
    """Forward a pushed event to the queue that all events take."""
    forward.set(json.dumps(pushed_event(event)))


@http.function_name("api")
@http.route(route="api/{*path}", methods=_METHODS, auth_level=_LEVEL)
def api(req: func.HttpRequest) -> func.HttpResponse:
    """Everything that needs a caller."""
    return answered(req)


@http.function_name("openapi")
@http.route(route="api/openapi.json", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def openapi(req: func.HttpRequest) -> func.HttpResponse:
    """What the API takes and answers."""
    return answered(req)


@http.function_name("health")
@http.route(route="api/health", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def health(req: func.HttpRequest) -> func.HttpResponse:
    """Whether the app runs; says nothing else, and needs nothing else."""
    del req
    return response_of(json_response({"status": "ok"}))


@http.function_name("explorer")
@http.route(route="explorer/{*path}", methods=["GET", "HEAD"], auth_level=func.AuthLevel.ANONYMOUS)
def explorer(req: func.HttpRequest) -> func.HttpResponse:
    """The page, which holds no data; what it shows it asks of the API, as its visitor."""
    return page_answered(req)


def pushed_event(event: func.EventGridEvent | func.CloudEvent) -> dict[str, Any]:
    """A pushed event as Event Grid would have written it to the queue, in the schema it came in.

    The subscription decides on the schema: one for CloudEvents hands over a `func.CloudEvent`,
    whatever the function's annotation says.
    """
    if isinstance(event, func.CloudEvent):
        return {
            "specversion": event.specversion,
            "id": event.id,
            "source": event.source,
            "type": event.type,
            "subject": event.subject,
            "time": None if event.time is None else event.time.isoformat(),
            "data": event.get_json(),
        }
    return {
        "id": event.id,
        "topic": event.topic,
        "subject": event.subject,
        "eventType": event.event_type,
        "eventTime": None if event.event_time is None else event.event_time.isoformat(),
        "dataVersion": event.data_version,
        "data": event.get_json(),
    }


app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)
for _blueprint in (queues, timers, push, http):
    app.register_functions(_blueprint)
