"""Words in the space of pictures: the text tower of the model that sees them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from indexer_core.errors import EncoderUnavailableError
from indexer_core.ports import ImageTextEncoder, TextEncoder

# Of an image encoder's id the kind, and what that of the text tower of the same model begins with.
_TOWERS = {"biomedclip-image": "biomedclip"}


class TextTower:
    """`indexer_core.ports.ImageTextEncoder` by a text encoder that is the same model's."""

    def __init__(self, texts: TextEncoder, image_encoder_id: str) -> None:
        self.encoder_id = image_encoder_id
        self.dimension = texts.dimension
        self._texts = texts

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32 of shape (len(texts), dimension), rows L2-normalised."""
        return self._texts.encode(texts)


def text_tower(image_encoder_id: str, texts: TextEncoder) -> ImageTextEncoder | None:
    """A text encoder as one of an image space, if both are towers of one model; else None.

    BiomedCLIP's ids name the digest of its weights, and both towers lie in one file.
    """
    kind, _, rest = image_encoder_id.partition("/")
    digest = rest.partition("/")[0]
    paired = _TOWERS.get(kind)
    if paired is None or not digest or not texts.encoder_id.startswith(f"{paired}/{digest}/"):
        return None
    return TextTower(texts, image_encoder_id)


def needed_image_texts(live: str, found: ImageTextEncoder | None) -> ImageTextEncoder:
    """The encoder, made sure to be that of the image space; `live`: the id of that one's.

    Raises
    ------
    EncoderUnavailableError
        There is none, or it is another one's.
    """
    if found is None or found.encoder_id != live:
        raise EncoderUnavailableError(
            f"words cannot be compared with pictures here: the index sees them with {live or '-'}, "
            "and no text tower of that is at hand"
        )
    return found
