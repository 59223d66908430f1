"""The command about looks: series like one that is indexed, or like a file."""

import argparse
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from indexer_core.errors import InvalidInputError
from local_host import output
from local_host.answering import answering
from local_host.named_series import is_ending, whole_uid
from local_host.opening import reading
from local_host.settings import Settings
from local_host.wiring import LocalSystem

if TYPE_CHECKING:
    from indexer_core.ports import ImageTextEncoder
    from indexer_core.vector_index import State


def run_similar(options: argparse.Namespace, settings: Settings) -> int:
    """Find look-alikes and print them."""
    from function_app.pages import PageRequest, level_of
    from function_app.pixels_search import PixelsSearchRequest, pixels_search
    from function_app.similar import SimilarRequest, UploadRequest, similar, similar_to_upload
    from indexer_core.adapters.decoding import DecodingChildren
    from indexer_core.filters import parse_filter
    from indexer_core.index.segment import IMAGE_SPACE
    from indexer_core.selection import Conditions
    from indexer_core.uploads import UploadReader

    if sum(each is not None for each in (options.uid, options.file, options.text)) != 1:
        raise InvalidInputError("name a series by its UID, or give --file FILE or --text TEXT")
    conditions = Conditions(filters=tuple(map(parse_filter, options.filter)))
    page = PageRequest(top=options.top, level=level_of(options.level))
    page.check()
    data = None if options.file is None else _bytes_of(Path(options.file))
    with (
        closing(reading(settings)) as system,  # it may open a model
        answering(system, options.at, searched=[IMAGE_SPACE]) as index,
    ):
        exact = system.reading.exact
        if options.text is not None:
            words = PixelsSearchRequest(
                text=options.text, conditions=conditions, page=page, with_texts=False, exact=exact
            )
            words.check()
            found = pixels_search(words, index, _image_texts(system, index.state), None, ())
        elif data is not None:
            asked = UploadRequest(data=data, conditions=conditions, page=page, exact=exact)
            with DecodingChildren() as children:
                reader = UploadReader(
                    decoding=children, find_encoder=system.encoders.images.find, rules=system.rules
                )
                found = similar_to_upload(asked, index, reader)
        else:
            uid = options.uid
            if is_ending(uid):  # which segments alone can be asked for
                uid = whole_uid(system.snapshot(options.at), uid)
            found = similar(
                SimilarRequest(uid=uid, conditions=conditions, page=page, exact=exact), index
            )
    output.print_hits(found, options.format)
    return 0


def _image_texts(system: LocalSystem, state: "State") -> "ImageTextEncoder | None":
    """What puts words into the image space of a state, or None."""
    return system.image_texts(state.image_encoder, system.encoder_named(state.text_encoder))


def _bytes_of(path: Path) -> bytes:
    """The bytes of a file, if it is not too large to be looked at."""
    from indexer_core.uploads import MAX_UPLOAD_BYTES

    with path.open("rb") as file:
        data = file.read(MAX_UPLOAD_BYTES + 1)
    if len(data) > MAX_UPLOAD_BYTES:
        raise InvalidInputError(f"{path} has more than {MAX_UPLOAD_BYTES >> 20} MiB")
    return data
