"""Microsoft's Python worker library in a process of its own; talks JSON lines with its parent.

Run by .tools/functions/bin/python as `functions_worker.py APP-FOLDER`; see `functions_host`. This
file is the only one that knows `azure_functions_runtime`, whose entry is not a documented API: so
its version is pinned here, and a newer one is refused until somebody has read it.

Requests: {"id", "function", "inputs": {name: datum}, "metadata": {name: datum}}, a datum being
{"type", "value"}. Replies: {"id", "ok", "return", "outputs", "error"}; the first line tells of the
functions. Whatever the app logs or prints goes to standard error.
"""

import asyncio
import base64
import json
import logging
import os
import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

RUNTIME_VERSION = "1.3.0"


class _Message(SimpleNamespace):
    """Stands for any protobuf message: the fields that it was made with."""

    Success, Failure = 1, 0
    undefined, out, inout = 0, 1, 2


class _Protos:
    def __getattr__(self, name):
        return type(name, (_Message,), {})


_PROTOS = _Protos()


def _request(**fields):
    return SimpleNamespace(
        request=SimpleNamespace(**fields), properties={"host": "127.0.0.1", "protos": _PROTOS}
    )


async def _index(folder):
    """Have the runtime import and index the app, as it does when the host starts it."""
    import azure_functions_runtime as runtime

    runtime.start_threadpool_executor()
    init = SimpleNamespace(capabilities={}, function_app_directory=folder)
    answer = await runtime.worker_init_request(_request(worker_init_request=init))
    if answer.result.status != _Message.Success:
        raise RuntimeError(f"the app was not indexed: {answer.result.exception}")
    found = (await runtime.functions_metadata_request(_request())).function_metadata_results
    return {
        function.name: {
            "id": function.function_id,
            "bindings": [json.loads(binding) for binding in function.raw_bindings],
        }
        for function in found or ()
    }


def _datum(value):
    from azure_functions_runtime.bindings.datumdef import Datum

    kind, content = value["type"], value["value"]
    if kind == "bytes":
        content = base64.b64decode(content)
    elif kind == "http":
        content = {name: _part(part) for name, part in content.items()}
    return Datum(content, kind)


def _part(part):
    """A part of an HTTP request: a datum, or a dict of them."""
    if isinstance(part, dict) and part.keys() == {"type", "value"}:
        return _datum(part)
    return {name: _datum(value) for name, value in part.items()}


def _plain(datum):
    if datum is None:
        return None
    value = datum.value
    if datum.type == "bytes":
        value = base64.b64encode(value).decode()
    elif datum.type == "http":
        value = {
            "status": int(value["status_code"].value),
            "headers": {name: header.value for name, header in value["headers"].items()},
            "body": _plain(value["body"]),
        }
    return {"type": datum.type, "value": value}


async def _invoke(request, functions):
    from azure_functions_runtime.native_invocation import invocation_request_native

    ok, returned, outputs, error, _ = await invocation_request_native(
        request["id"],
        functions[request["function"]]["id"],
        [(name, _datum(value)) for name, value in request["inputs"].items()],
        {name: _datum(value) for name, value in request["metadata"].items()},
    )
    return {
        "id": request["id"],
        "ok": ok,
        "return": _plain(returned),
        "outputs": {name: _plain(value) for name, value in outputs},
        "error": error,
    }


def _loaded_elsewhere(folder):
    """Modules of the project that did not come from the app's folder."""
    ours = {"function_app", "functions_entry", "gpu_worker", "indexer_core", "local_host"}
    return sorted(
        name
        for name, module in sys.modules.items()
        if name.partition(".")[0] in ours
        and not (getattr(module, "__file__", None) or "").startswith(f"{folder}{os.sep}")
    )


async def _serve(folder, requests, replies):
    functions = await _index(folder)
    started = {
        "functions": functions,
        "python": list(sys.version_info[:2]),
        "heavy": sorted({"torch", "transformers", "open_clip"} & set(sys.modules)),
        "elsewhere": _loaded_elsewhere(folder),
    }
    print(json.dumps(started), file=replies, flush=True)
    loop = asyncio.get_running_loop()
    running = set()

    async def answer(request):
        reply = await _invoke(request, functions)
        print(json.dumps(reply), file=replies, flush=True)

    while line := await loop.run_in_executor(None, requests.readline):
        task = asyncio.create_task(answer(json.loads(line)))
        running.add(task)
        task.add_done_callback(running.discard)
    await asyncio.gather(*running)


def main():
    """Serve the app of a folder until standard input ends."""
    if (found := version("azure-functions-runtime")) != RUNTIME_VERSION:
        raise SystemExit(f"azure-functions-runtime is {found}; this helper knows {RUNTIME_VERSION}")
    # What the app prints must not get between the replies.
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    folder = str(Path(sys.argv[1]).resolve())
    os.chdir(folder)
    sys.path[:1] = [folder]  # the app's folder first, as in Azure, and not this file's
    asyncio.run(_serve(folder, sys.stdin, replies))


if __name__ == "__main__":
    main()
