"""The parts of the Azure Functions host that the app needs, around Microsoft's own Python worker.

The worker library runs in its own process (see `functions_worker`) under Python 3.13. What the host
does around it is done here: host.json, the queue listeners over a real Azurite, queue outputs,
routing of HTTP requests. Read in the sources of the storage queues extension, and no wider:

- a listener takes `batchSize` messages, and the next ones once `newBatchThreshold` or fewer are
  running; a message is hidden for ten minutes while it runs;
- a failure hides it for `visibilityTimeout`; at `maxDequeueCount` it goes to ``QUEUE-poison``;
- a message of a queue that is itself called ``...-poison`` is left hidden when it fails.

Not covered: keys (`authLevel` is only reported), scaling, timers' schedules, renewal of messages.
What a binding or a key of host.json asks for, and is not done here, is refused: `functions_json`.
"""

import base64
import binascii
import json
import os
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.queue import QueueClient, QueueMessage

from indexer_core.adapters.azure.clients import AzureStorage
from tests.support.functions_json import Function, HostError, read_function, read_host_settings

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".tools" / "functions" / "bin" / "python"
WORKER = Path(__file__).with_name("functions_worker.py")
TIMEOUT_S = 600.0
HIDDEN_S = 600
STEP_S = 5.0
POISON = "-poison"


def missing() -> str | None:
    """Why the Functions runtime cannot be started here, or None."""
    if not PYTHON.is_file():
        return "the Functions runtime is not installed: run `make .tools/functions.stamp`"
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """What an invocation came to."""

    ok: bool
    returned: Mapping[str, Any] | None
    outputs: Mapping[str, Mapping[str, Any]]
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A queue message whose function raised."""

    function: str
    body: str
    dequeue_count: int
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def _query(values: Mapping[str, str] | None) -> str:
    return f"?{urlencode(values)}" if values else ""


class FunctionsHost:
    """The app of a folder, loaded in the real runtime, and what the host does around it.

    Parameters
    ----------
    settings
        The app's settings: environment of its process, beside the host's own few.
    log
        Where all that the app's process logs or prints is written.
    """

    def __init__(self, app: Path, settings: Mapping[str, str], log: Path) -> None:
        self.settings = read_host_settings((app / "host.json").read_text())
        self.log = log
        self.failures: list[Failure] = []
        self._app_settings = settings
        self._storages: dict[str, AzureStorage] = {}
        self._waiting: dict[str, Future[Invocation]] = {}
        self._lock = threading.Lock()
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [str(PYTHON), str(WORKER), str(app)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                encoding="utf-8",
                env=_environment(app, settings),
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.close()
            raise HostError(f"the app did not start: {self.logged()}")
        self.started = json.loads(line)
        self.functions = {
            name: read_function(name, found["bindings"])
            for name, found in self.started["functions"].items()
        }
        self.listeners = [
            QueueListener(self, function)
            for function in self.functions.values()
            if function.trigger["type"] == "queueTrigger"
        ]
        self._replies = threading.Thread(target=self._read_replies, daemon=True)
        self._replies.start()

    @property
    def bindings(self) -> dict[str, list[dict[str, Any]]]:
        """Every function's bindings, as the runtime reports them."""
        return {name: found["bindings"] for name, found in self.started["functions"].items()}

    @property
    def pid(self) -> int:
        """Id of the app's process."""
        return self._process.pid

    def logged(self) -> str:
        """Everything that the app's process has logged or printed so far."""
        return self.log.read_text(errors="replace")

    def start(self, function: str, value: Any, metadata: Mapping[str, Any]) -> Future[Invocation]:
        """Invoke a function with what triggers it; returns at once."""
        request = {
            "id": str(uuid.uuid4()),
            "function": function,
            "inputs": {self.functions[function].trigger["name"]: value},
            "metadata": metadata,
        }
        future: Future[Invocation] = Future()
        assert self._process.stdin is not None
        with self._lock:
            self._waiting[request["id"]] = future
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        return future

    def invoke(
        self, function: str, value: Any, metadata: Mapping[str, Any] | None = None
    ) -> Invocation:
        """Invoke a function, and carry its queue outputs out when it succeeded."""
        done = self.start(function, value, metadata or {}).result(timeout=TIMEOUT_S)
        self.carry_out(function, done)
        return done

    def carry_out(self, function: str, done: Invocation) -> None:
        """Send what a function that succeeded has set on its queue outputs."""
        for binding in self.functions[function].outputs if done.ok else ():
            if binding["type"] == "queue" and (value := done.outputs.get(binding["name"])):
                queue = self.queue(binding["connection"], binding["queueName"])
                for body in _bodies(value):
                    queue.send_message(base64.b64encode(body.encode()).decode())

    def tick(self, function: str) -> Invocation:
        """Run a timer function as the host does when its time has come."""
        if self.functions[function].trigger["type"] != "timerTrigger":
            raise HostError(f"{function} has no timer")
        info = {"IsPastDue": False, "Schedule": {"AdjustForDST": True}, "ScheduleStatus": None}
        return self.invoke(function, json_datum(info))

    def push(self, function: str, event: Mapping[str, Any]) -> Invocation:
        """Hand a function one event, as Event Grid's webhook does."""
        if self.functions[function].trigger["type"] != "eventGridTrigger":
            raise HostError(f"{function} takes no events")
        return self.invoke(function, json_datum(event))

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes = b"",
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Route an HTTP request to its function and return its answer."""
        function = self._route(method, path)
        if function is None:
            return Response(status=404, headers={}, body=b"")
        sent = {**({"content-type": content_type} if body else {}), **(headers or {})}
        http = {
            "method": text_datum(method),
            "url": text_datum(f"http://127.0.0.1{path}{_query(query)}"),
            "headers": {name: text_datum(value) for name, value in sent.items()},
            "query": {name: text_datum(value) for name, value in (query or {}).items()},
            "params": {},
            "body": bytes_datum(body),
        }
        done = self.invoke(function, {"type": "http", "value": http})
        if not done.ok:  # the real host tells no more either
            return Response(status=500, headers={}, body=b"")
        assert done.returned is not None
        assert done.returned["type"] == "http"
        answer = done.returned["value"]
        return Response(
            status=answer["status"],
            headers={name.lower(): value for name, value in answer["headers"].items()},
            body=base64.b64decode(answer["body"]["value"]),
        )

    def _route(self, method: str, path: str) -> str | None:
        """The function of a path: one that names it whole before one that takes the rest."""
        catch_all = None
        for function in self.functions.values():
            trigger = function.trigger
            if trigger["type"] != "httpTrigger":
                continue
            prefix = self.settings.route_prefix
            route = "/".join(part for part in ("", prefix, trigger["route"]) if part)
            if method not in trigger["methods"]:
                continue
            if path == f"/{route}":
                return function.name
            # The rest may be empty, and the slash before it left out.
            stem = route.removesuffix("{*path}")
            if stem != route and f"{path}/".startswith(f"/{stem}"):
                catch_all = function.name
        return catch_all

    def queue(self, connection: str, name: str) -> QueueClient:
        """A queue of the account that a setting names."""
        if connection not in self._storages:
            if connection not in self._app_settings:
                raise HostError(f"the connection {connection} is not among the app's settings")
            self._storages[connection] = AzureStorage(self._app_settings[connection])
        return self._storages[connection].queue(name)

    def run(self, *queues: str, meanwhile: Callable[[int], None] = lambda _: None) -> int:
        """Run the listeners (of these queues) until no message is visible; how many were handled.

        A host with other functions disabled listens to some queues only. `meanwhile` is called
        with that number now and then, while functions are running.
        """
        n_handled = 0
        listeners = [item for item in self.listeners if not queues or item.name in queues]
        while True:
            for listener in listeners:
                listener.fill()
            running = [future for listener in listeners for future in listener.running]
            if not running:
                return n_handled
            done, _ = wait(running, timeout=TIMEOUT_S, return_when=FIRST_COMPLETED)
            if not done:
                raise HostError(f"no function has finished: {self.logged()[-2000:]}")
            n_handled += sum(listener.settle() for listener in listeners)
            meanwhile(n_handled)

    def is_busy(self) -> bool:
        """Whether any message is being handled."""
        return any(listener.running for listener in self.listeners)

    def run_until_idle(self, pass_time: Callable[[float], None]) -> int:
        """Run the listeners until their queues are empty; hidden messages are waited for.

        `pass_time` sets the queues' clock ahead. That is done only while nothing runs, so no
        message comes back while it is handled.
        """
        n_handled, deadline_s = 0, time.monotonic() + TIMEOUT_S
        while True:
            n_handled += self.run()
            if not any(listener.length() for listener in self.listeners):
                return n_handled
            if time.monotonic() > deadline_s:
                lengths = {listener.name: listener.length() for listener in self.listeners}
                raise HostError(f"the queues do not get empty: {lengths}")
            pass_time(STEP_S)

    def close(self) -> None:
        """Let the app's process end; what still runs is finished first."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if hasattr(self, "_replies"):
            self._replies.join()
        assert self._process.stdout is not None
        self._process.stdout.close()
        for storage in self._storages.values():
            storage.close()

    def _read_replies(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            reply = json.loads(line)
            with self._lock:
                future = self._waiting.pop(reply["id"])
            future.set_result(
                Invocation(
                    ok=reply["ok"],
                    returned=reply["return"],
                    outputs=reply["outputs"],
                    error=reply["error"],
                )
            )
        with self._lock:
            lost, self._waiting = self._waiting, {}
        for future in lost.values():
            future.set_exception(HostError("the app's process has ended"))


@dataclass
class QueueListener:
    """Takes messages off the queue of one function."""

    host: FunctionsHost
    function: Function
    running: dict[Future[Invocation], QueueMessage] = field(default_factory=dict)
    rests: int = 0
    """Polls to leave out: the host, too, asks an empty queue less often."""

    @property
    def name(self) -> str:
        return str(self.function.trigger["queueName"])

    @property
    def queue(self) -> QueueClient:
        return self.host.queue(self.function.trigger["connection"], self.name)

    def length(self) -> int:
        """Messages in the queue, hidden ones too."""
        return self.queue.get_queue_properties().approximate_message_count or 0

    def fill(self) -> None:
        """Take another batch if so few are running that the host would."""
        settings = self.host.settings
        if len(self.running) > settings.new_batch_threshold:
            return
        if self.rests > 0 and self.host.is_busy():
            self.rests -= 1
            return
        n_running = len(self.running)
        found = self.queue.receive_messages(
            messages_per_page=settings.batch_size,
            max_messages=settings.batch_size,
            visibility_timeout=HIDDEN_S,
        )
        for message in found:
            self._begin(message)
        self.rests = settings.batch_size if len(self.running) == n_running else 0

    def _begin(self, message: QueueMessage) -> None:
        try:
            body = base64.b64decode(message.content, validate=True).decode()
        except (binascii.Error, ValueError):
            self._set_aside(message)  # it cannot be read at any try
            return
        if (
            self._poison is not None
            and message.dequeue_count > self.host.settings.max_dequeue_count
        ):
            self._set_aside(message)
            return
        metadata = {
            "Id": text_datum(message.id),
            "DequeueCount": json_datum(message.dequeue_count),
            "PopReceipt": text_datum(message.pop_receipt),
            "InsertionTime": json_datum(message.inserted_on.isoformat()),
            "ExpirationTime": json_datum(message.expires_on.isoformat()),
            "NextVisibleTime": json_datum(message.next_visible_on.isoformat()),
        }
        future = self.host.start(self.function.name, text_datum(body), metadata)
        self.running[future] = message

    def settle(self) -> int:
        """Finish with the messages whose functions have returned; how many."""
        finished = [future for future in self.running if future.done()]
        for future in finished:
            message, done = self.running.pop(future), future.result()
            if done.ok:
                self.host.carry_out(self.function.name, done)
                self.queue.delete_message(message)
                continue
            self._note(message, done)
            if self._poison is None:
                pass  # it stays hidden, so that a failing poison handler makes no fast loop
            elif (message.dequeue_count or 0) >= self.host.settings.max_dequeue_count:
                self._set_aside(message)
            else:
                self.queue.update_message(
                    message, visibility_timeout=self.host.settings.visibility_timeout_s
                )
        return len(finished)

    def _note(self, message: QueueMessage, done: Invocation) -> None:
        self.host.failures.append(
            Failure(
                function=self.function.name,
                body=base64.b64decode(message.content).decode(),
                dequeue_count=message.dequeue_count or 0,
                error=done.error or "",
            )
        )

    @property
    def _poison(self) -> QueueClient | None:
        if self.name.endswith(POISON):
            return None
        return self.host.queue(self.function.trigger["connection"], self.name + POISON)

    def _set_aside(self, message: QueueMessage) -> None:
        poison = self._poison
        if poison is None:
            return
        try:
            poison.send_message(message.content, time_to_live=-1)
        except ResourceNotFoundError:  # the host makes the queue when it first needs it
            poison.create_queue()
            poison.send_message(message.content, time_to_live=-1)
        self.queue.delete_message(message)


def text_datum(value: str) -> dict[str, Any]:
    return {"type": "string", "value": value}


def json_datum(value: Any) -> dict[str, Any]:
    return {"type": "json", "value": json.dumps(value)}


def bytes_datum(value: bytes) -> dict[str, Any]:
    return {"type": "bytes", "value": base64.b64encode(value).decode()}


def _bodies(datum: Mapping[str, Any]) -> list[str]:
    """Messages of a queue output: one, or several as a JSON list."""
    if datum["type"] == "string":
        return [datum["value"]]
    if datum["type"] != "json":
        raise HostError(f"a queue output of type {datum['type']} is not implemented here")
    value = json.loads(datum["value"])
    return [
        item if isinstance(item, str) else json.dumps(item)
        for item in (value if isinstance(value, list) else [value])
    ]


def _environment(app: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """Only what is named here: nothing of the test's own environment reaches the app."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    local = json.loads((app / "local.settings.json.example").read_text())["Values"]
    return {
        **kept,
        # The working tree, and not the copy that is installed beside the runtime.
        "PYTHONPATH": str(app),
        "PYTHONDONTWRITEBYTECODE": "1",
        "FUNCTIONS_WORKER_RUNTIME": local["FUNCTIONS_WORKER_RUNTIME"],
        "PYTHON_SCRIPT_FILE_NAME": local["PYTHON_SCRIPT_FILE_NAME"],
        **settings,
    }
