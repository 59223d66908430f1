"""Keys and tokens of an endpoint: asked for at every request, read anew when one is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from indexer_core.errors import InvalidInputError, UnavailableError

AUDIENCE = "https://ml.azure.com/.default"
"""What a token for an endpoint of Azure Machine Learning is good for."""


class Credential(Protocol):
    """What an endpoint is shown."""

    def secret(self, *, anew: bool) -> str:
        """The key or token; `anew`: the one given before was refused. It may take its time.

        Raises
        ------
        InvalidInputError
            There is none.
        UnavailableError
            Whoever gives tokens cannot be reached.
        """


class Key:
    """A key that does not change."""

    def __init__(self, key: str) -> None:
        self._key = _checked(key, "the key of the endpoint")

    def secret(self, *, anew: bool) -> str:
        """The key."""
        del anew
        return self._key


class KeyFile:
    """A key in a file, which may be replaced while the program runs."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._key = ""

    def secret(self, *, anew: bool) -> str:
        """The key, read once and when it was refused."""
        if anew or not self._key:
            try:
                text = self._path.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise InvalidInputError(
                    "the file with the endpoint's key cannot be read"
                ) from error
            self._key = _checked(text, "the key in the file")
        return self._key


class Token:
    """A token of Microsoft Entra ID: the identity of this program, whatever it runs as.

    Parameters
    ----------
    get
        A token for an audience, kept and renewed as it sees fit; None: of azure-identity.
    """

    def __init__(self, get: Callable[[str], str] | None = None) -> None:
        self._get = get

    def secret(self, *, anew: bool) -> str:
        """A token that is valid now; the library renews it."""
        del anew
        if self._get is None:
            self._get = _azure_tokens()
        return self._get(AUDIENCE)


def _azure_tokens() -> Callable[[str], str]:
    try:
        from azure.identity import DefaultAzureCredential
    except ImportError as error:
        raise InvalidInputError(
            "an endpoint without a key needs azure-identity: pip install 'dicom-indexer[azure]', "
            "or set the key"
        ) from error
    return tokens_of(DefaultAzureCredential())


def tokens_of(identity: Any) -> Callable[[str], str]:
    """Tokens of an identity of azure-identity, which keeps and renews them."""
    from azure.core.exceptions import AzureError

    def get(audience: str) -> str:
        try:
            return str(identity.get_token(audience).token)
        except AzureError as error:
            # Its text tells of every kind of identity that was tried, over many lines.
            raise UnavailableError(
                "no token for the endpoint can be had now: give this program an identity that may "
                "use it, or set the key"
            ) from error

    return get


def _checked(text: str, what: str) -> str:
    key = text.strip()
    # A line break would let it add headers of its own; httpx would refuse it with a poorer message.
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise InvalidInputError(f"{what} is empty, or no key")
    return key
