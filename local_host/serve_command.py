"""The command `serve`: explorer and HTTP API of this data directory, or of an account's index."""

import argparse
import os
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING

from indexer_core.adapters.system import usable_memory_bytes
from indexer_core.errors import ConflictError, InvalidInputError, UnavailableError
from local_host.locking import writer_lock
from local_host.opening import known_data
from local_host.settings import MILVUS, Settings
from local_host.wiring import LocalSystem

if TYPE_CHECKING:
    from function_app.api.router import Router
    from indexer_core.adapters.decoding import DecodingChildren
    from indexer_core.ports import ImageEncoder
    from local_host.serving import Server

PORT = 8080
"""Where it is served unless another port is asked for."""
TOKEN = "DICOM_INDEXER_TOKEN"  # noqa: S105 - the name of a variable
_TOKEN_CHARACTERS = 16
_DECODING_S = 10  # of an upload, by a child that is ended then
_OWN_NAMES = frozenset(("localhost", "127.0.0.1", "::1"))


def run_serve(options: argparse.Namespace, settings: Settings) -> int:
    """Answer requests until interrupted."""

    def announce(address: str) -> None:
        told = f"serving {address} (the explorer) and {address}api (the API); stop with Ctrl-C"
        print(told, flush=True)

    scopes = frozenset(options.scope) or None
    serve(settings, host=options.host, ports=(options.port,), scopes=scopes, announce=announce)
    print("stopped serving", file=sys.stderr)
    return 0


def serve(
    settings: Settings,
    *,
    ports: Sequence[int],
    announce: Callable[[str], None],
    host: str = "127.0.0.1",
    scopes: frozenset[str] | None = None,
) -> None:
    """Serve explorer and API until interrupted.

    Parameters
    ----------
    ports
        The first that is free is listened on; 0 is any.
    announce
        Is told the explorer's address once requests are answered there; the API is under ``api``.
    scopes
        Limits what is shown; None: everything.

    Raises
    ------
    InvalidInputError
        The address cannot be listened on, or others could reach it without a token.
    """
    from indexer_core.adapters.decoding import ChildLimits, DecodingChildren

    token = os.environ.get(TOKEN) or None
    is_own = is_loopback(host)
    _check_token(token, is_own=is_own)
    system = known_data(settings)
    decoding = DecodingChildren(ChildLimits(seconds=_DECODING_S))
    router = router_of(system, decoding, scopes, token)
    server = _listen(router, host, ports, hosts={*_OWN_NAMES, host} if is_own else None)
    if not is_own:
        print(
            "dicom-indexer: others on the network can reach this, and what they send and get is "
            "not encrypted: put a proxy with TLS before it",
            file=sys.stderr,
        )
    announce(f"http://{f'[{host}]' if ':' in host else host}:{server.port}/")
    try:
        server.run()
    finally:
        server.close()
        router.close()
        decoding.close()
        system.close()


def _listen(
    router: "Router", host: str, ports: Sequence[int], *, hosts: Collection[str] | None
) -> "Server":
    from function_app.page import read_page
    from local_host.serving import Server

    page = read_page()
    for port in ports[:-1]:
        with suppress(InvalidInputError):
            return Server(router, page, host, port, hosts=hosts)
    return Server(router, page, host, ports[-1], hosts=hosts)


def router_of(
    system: LocalSystem,
    decoding: "DecodingChildren",
    scopes: frozenset[str] | None,
    token: str | None,
) -> "Router":
    """The API over a system that writes nothing but audit records, and cohorts where it may."""
    from function_app.api.callers import local_callers
    from function_app.api.service import Service
    from function_app.api.wiring import build_router
    from function_app.homes import Home, MilvusAnswers, SegmentsHome
    from function_app.milvus_home import milvus_home
    from indexer_core.encoders import InBackground
    from indexer_core.index.adoption import QueryReader
    from indexer_core.index.commit import Manifests
    from indexer_core.index.segment import TEXT_SPACE
    from indexer_core.uploads import UploadReader

    def image_encoder(encoder_id: str) -> "ImageEncoder | None":
        try:
            return system.encoders.images.find(encoder_id)
        except InvalidInputError as error:
            # Not the fault of whoever asks, and not theirs to know where it lies.
            raise UnavailableError("the image encoder cannot be used") from error

    uploads = UploadReader(decoding=decoding, find_encoder=image_encoder, rules=system.rules)
    reader = system.stores.reader(
        system.vector_files,
        searched=[TEXT_SPACE],
        limit_bytes=system.reading.memory_bytes or usable_memory_bytes(),
    )
    background = InBackground(system.encoders.find)
    manifests = Manifests(system.index)
    home: Home
    if system.settings.milvus is None:
        queries = QueryReader(reader, manifests, find=background, first=background.now)
        home = SegmentsHome(reader, queries)
    else:
        home = MilvusAnswers(
            milvus_home(system.settings.milvus, system.index),
            manifests,
            find=background,
            first=background.now,
            setting=f"{MILVUS}URI",
        )
    return build_router(
        system.stores,
        Service(
            system.stores,
            home,
            tracing=system.stores.reader(system.vector_files),
            exact=system.reading.exact,
            uploads=uploads,
            writing=lambda: _writing(system.settings),
            image_texts=system.image_texts,
            viewer=system.settings.viewer,
        ),
        authenticate=local_callers(scopes, token),
        secret=system.secret(),
    )


@contextmanager
def _writing(settings: Settings) -> Iterator[None]:
    """The right to write to the data directory; in an account nobody needs to ask for it.

    Raises
    ------
    ConflictError
        Another command has it, such as `watch`.
    """
    with ExitStack() as stack:
        if settings.azure is None:
            try:
                stack.enter_context(writer_lock(settings.data))
            except InvalidInputError as error:
                raise ConflictError("another command is writing to the data directory") from error
        yield


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a listener on that address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _check_token(token: str | None, *, is_own: bool) -> None:
    if token is None and not is_own:
        raise InvalidInputError(
            f"--host opens patient data to the network: set {TOKEN} to a secret of at least "
            f"{_TOKEN_CHARACTERS} characters, which requests then send as a bearer token"
        )
    if token is not None and (len(token) < _TOKEN_CHARACTERS or not token.isascii()):
        raise InvalidInputError(f"{TOKEN} has at least {_TOKEN_CHARACTERS} ASCII characters")
