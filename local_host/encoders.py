"""The encoders of a data directory: those that ship with the program, and further exports.

Each export is a folder below ``encoders/`` of the data directory. The default one is made there at
first use; others are taken in by `dicom-indexer encoder build`, or fetched from beside an index
that lies in Azure.
"""

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from indexer_core.adapters.onnx_text import (
    MANIFEST_NAME,
    MODEL_NAME,
    TOKENIZER_NAME,
    OnnxTextEncoder,
    read_export,
)
from indexer_core.encoders import ReadFile, encoder_id_of, export_in_store, folder_of, loaded_once
from indexer_core.errors import (
    CorruptIndexError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
)
from indexer_core.ports import BlobReader, ImageEncoder, TextEncoder

if TYPE_CHECKING:
    # Loaded where they are first used: searching needs no image encoder.
    from gpu_worker.encoders.finding import ImageEncoders

DEFAULT_NAME = "minilm-l6-v2"
DESCRIPTOR_NAME = "image-descriptor"
PIXEL_MODEL_NAME = "pixel-model"

_FILES = (MODEL_NAME, TOKENIZER_NAME, MANIFEST_NAME)
_IMAGE_FILES = (MODEL_NAME, MANIFEST_NAME)


class LocalEncoders:
    """Finds encoders by their id.

    Parameters
    ----------
    folder
        Where the exports lie.
    store, prefixes
        Where else to look for them: beside an index that lies elsewhere.
    further
        Finds image encoders that are no exports.
    """

    def __init__(
        self,
        folder: Path,
        store: BlobReader | None = None,
        prefixes: tuple[str, ...] = (),
        *,
        further: Callable[[str], ImageEncoder | None] = lambda _: None,
    ) -> None:
        self.folder = folder
        self._store = store
        self._prefixes = prefixes
        self._further = further
        self.find = loaded_once(self._find)

    @cached_property
    def images(self) -> "ImageEncoders":
        """Image encoders: the descriptor that is part of the program, and exports."""
        from gpu_worker.encoders.finding import ImageEncoders
        from indexer_core.descriptor import ImageDescriptor

        return ImageEncoders((ImageDescriptor(),), self._find_image)

    @property
    def default_folder(self) -> Path:
        """Where the encoder that ships with the program is exported."""
        return self.folder / DEFAULT_NAME

    @cached_property
    def default(self) -> TextEncoder:
        """The encoder that ships with the program, exported from its package at first use.

        One that is damaged is exported again: its weights are checked, and so is the export.
        """
        try:
            export = read_export(self.default_folder)
        except (InvalidInputError, CorruptIndexError):
            # torch is loaded here and only here, once per data directory.
            from gpu_worker.encoders.export import export_text_encoder

            export_text_encoder(self.default_folder)
            export = read_export(self.default_folder)
        return OnnxTextEncoder(export=export)

    def needed(self, encoder_id: str) -> TextEncoder:
        """The encoder of this id.

        Raises
        ------
        NotFoundError
            It is not here.
        """
        found = self.find(encoder_id)
        if found is None:
            raise NotFoundError(
                f"the index uses the text encoder {encoder_id}, which is not in {self.folder}: "
                "dicom-indexer encoder build FOLDER takes in the folder with its export"
            )
        return found

    def needed_image(self, encoder_id: str) -> ImageEncoder:
        """The image encoder of this id.

        Raises
        ------
        NotFoundError
            It is not here.
        """
        found = self.images.find(encoder_id)
        if found is None:
            raise NotFoundError(
                f"the index uses the image encoder {encoder_id}, which is not in {self.folder}: "
                "dicom-indexer encoder build biomedclip --weights FOLDER makes it again, or set "
                "DICOM_INDEXER_PIXEL_MODEL to the model that it is"
            )
        return found

    def take_in_image(self, source: Path | ReadFile) -> Path:
        """Copy the export of an image encoder to where it is found by its id; checked first.

        Raises
        ------
        InvalidInputError, CorruptIndexError
            It is no export, or a damaged one.
        """
        from gpu_worker.encoders.onnx_image import read_image_export

        target = self.folder / folder_of(read_image_export(source).manifest["encoder_id"])
        try:
            read_image_export(target)
        except (InvalidInputError, CorruptIndexError):
            _copy(source, target, _IMAGE_FILES)
        return target

    def take_in(self, source: Path | ReadFile) -> Path:
        """Copy an export to where it is found by its id, unless it is there; checked first.

        Raises
        ------
        InvalidInputError, CorruptIndexError
            It is no export, or a damaged one.
        """
        export = read_export(source)
        target = self.folder / folder_of(export.manifest["encoder_id"])
        if not _is_intact(target):
            _copy(source, target, _FILES)
        return target

    def has(self, encoder_id: str) -> bool:
        """Whether `find` would find it; loads nothing."""
        return (
            self.folder_with(encoder_id) is not None
            or encoder_id.startswith(f"{DEFAULT_NAME}/")
            or self._read_from_store(encoder_id) is not None
        )

    def folder_with(self, encoder_id: str) -> Path | None:
        """The folder that holds the export of this encoder, or None."""
        return next((f for f in self._folders() if _id_in(f) == encoder_id), None)

    def _find(self, encoder_id: str) -> TextEncoder | None:
        folder = self.folder_with(encoder_id)
        if folder is not None and folder != self.default_folder:
            return _loaded(folder)
        if encoder_id.startswith(f"{DEFAULT_NAME}/") and self.default.encoder_id == encoder_id:
            return self.default
        read = self._read_from_store(encoder_id)
        return None if read is None else OnnxTextEncoder.load(self.take_in(read))

    def _find_image(self, encoder_id: str) -> ImageEncoder | None:
        from gpu_worker.encoders.onnx_image import OnnxImageEncoder

        folder = self.folder_with(encoder_id)
        if folder is None:
            read = self._read_from_store(encoder_id)
            if read is None:
                return self._further(encoder_id)
            folder = self.take_in_image(read)
        try:
            return OnnxImageEncoder.load(folder)
        except CorruptIndexError as error:
            raise InvalidInputError(
                f"the image encoder in {folder} is damaged: remove it, and dicom-indexer encoder "
                "build biomedclip --weights FOLDER makes it again"
            ) from error

    def _read_from_store(self, encoder_id: str) -> ReadFile | None:
        if self._store is None:
            return None
        return export_in_store(self._store, encoder_id, self._prefixes)

    def _folders(self) -> Iterator[Path]:
        try:
            names = sorted(os.listdir(self.folder))  # noqa: PTH208 - names are all that is needed
        except FileNotFoundError:
            return
        for name in names:
            if not name.startswith("."):
                yield self.folder / name


def _loaded(folder: Path) -> TextEncoder:
    try:
        return OnnxTextEncoder.load(folder)
    except CorruptIndexError as error:
        raise InvalidInputError(
            f"the text encoder in {folder} is damaged: dicom-indexer encoder build EXPORT takes in "
            "a sound copy of it"
        ) from error


def _id_in(folder: Path) -> str | None:
    try:
        return encoder_id_of((folder / MANIFEST_NAME).read_bytes())
    except (OSError, CorruptIndexError):
        return None


def _is_intact(folder: Path) -> bool:
    try:
        read_export(folder)
    except (InvalidInputError, CorruptIndexError):
        return False
    return True


def _copy(source: Path | ReadFile, target: Path, names: tuple[str, ...]) -> None:
    """Written aside and renamed: a half-written export is never used."""
    partial = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        partial.mkdir(parents=True)
        for name in names:
            data = (source / name).read_bytes() if isinstance(source, Path) else source(name)
            with (partial / name).open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        if target.exists():
            shutil.rmtree(target)
        partial.replace(target)
    except OSError as error:
        raise UnavailableError(
            f"{target} cannot be written: {error.strerror or type(error).__name__}"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
