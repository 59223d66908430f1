"""Which model looks at pixels, as settings say; loads nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from indexer_core.errors import InvalidInputError

MODEL = "PIXEL_MODEL"
KEY = "PIXEL_MODEL_KEY"
KEY_FILE = "PIXEL_MODEL_KEY_FILE"
DEPLOYMENT = "PIXEL_MODEL_DEPLOYMENT"
VERSION = "PIXEL_MODEL_VERSION"
LABELS = "PIXEL_LABELS"

NONE = "descriptor"
BIOMEDCLIP = "biomedclip"
MLFLOW = "mlflow"
_ENDPOINTS = ("https://", "http://")


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelSettings:
    """The pixel model.

    Parameters
    ----------
    kind
        ``descriptor`` (none that names anything), ``endpoint``, ``mlflow`` or ``biomedclip``.
    place
        The URL of the endpoint, or the folder of the model.
    key, key_file
        Of the endpoint; without either it is shown a token of this program's identity.
    deployment
        One deployment of the endpoint.
    version
        What the operator calls the model behind the endpoint; part of its vectors' name.
    labels
        A file that takes the place of the shipped label sets.
    """

    kind: str = NONE
    place: str = ""
    key: str = field(default="", repr=False)
    key_file: Path | None = None
    deployment: str = ""
    version: str = "1"
    labels: Path | None = None

    def may_have_made(self, encoder_id: str) -> bool:
        """Whether vectors of this name may be this model's; opens nothing to find out."""
        made = {BIOMEDCLIP: "biomedclip-image/", NONE: "\0"}.get(self.kind, "medimageinsight/")
        return encoder_id.startswith(made)

    def may_have_read(self, encoder_id: str) -> bool:
        """Whether vectors of texts of this name may be this model's; opens nothing to find out."""
        return self.kind == BIOMEDCLIP and encoder_id.startswith("biomedclip/")


def read_pixel_settings(environment: Mapping[str, str], prefix: str) -> PixelSettings:
    """Settings from variables that begin with `prefix`.

    Raises
    ------
    InvalidInputError
        A value cannot be used; it is never repeated.
    """
    kind, place = _model(environment.get(prefix + MODEL, ""), prefix)
    key, key_file = environment.get(prefix + KEY, ""), environment.get(prefix + KEY_FILE, "")
    if key and key_file:
        raise InvalidInputError(f"set {prefix}{KEY} or {prefix}{KEY_FILE}, not both")
    version = environment.get(prefix + VERSION, "") or "1"
    if not version.replace(".", "").replace("-", "").isalnum():
        raise InvalidInputError(f"{prefix}{VERSION} is made of letters, digits, dots and dashes")
    labels = environment.get(prefix + LABELS, "")
    return PixelSettings(
        kind=kind,
        place=place,
        key=key,
        key_file=Path(key_file) if key_file else None,
        deployment=environment.get(prefix + DEPLOYMENT, ""),
        version=version,
        labels=Path(labels) if labels else None,
    )


def _model(text: str, prefix: str) -> tuple[str, str]:
    if text in ("", NONE):
        return NONE, ""
    if text.startswith(_ENDPOINTS):
        return "endpoint", text
    kind, separator, place = text.partition(":")
    if kind in (BIOMEDCLIP, MLFLOW) and separator and place:
        return kind, place
    raise InvalidInputError(
        f"{prefix}{MODEL} is {NONE}, the https address of a MedImageInsight endpoint, "
        f"{MLFLOW}:FOLDER or {BIOMEDCLIP}:FOLDER"
    )
