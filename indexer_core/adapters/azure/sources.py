"""Users' containers as sources, and which URLs lie in them.

An event names a URL; nothing is fetched unless that URL lies, letter by letter, in a configured
container. What is read then is asked for by container client and blob name, never by the URL.
"""

from urllib.parse import quote, unquote_to_bytes, urlsplit

from azure.storage.blob import ContainerClient

from indexer_core.adapters.azure.blobs import AzureBlobReader, is_addressable
from indexer_core.errors import InvalidInputError
from indexer_core.sources import Located

_MAX_URL_CHARACTERS = 16_384
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
# Unencoded "?" and "#" begin a query or a fragment: a snapshot, a version, a signature.
_FORBIDDEN = frozenset("?#")


def folder_prefix(folder: str) -> str:
    """What the names of blobs in a folder begin with: no other folder's begin so, too."""
    return f"{folder.strip('/')}/" if folder.strip("/") else ""


class AzureContainerSource:
    """Implements `indexer_core.sources.Source`: one container, or a folder of it.

    Parameters
    ----------
    container
        From `indexer_core.adapters.azure.clients.AzureStorage`. Its URL says what is configured:
        ``https://ACCOUNT.blob.core.windows.net/CONTAINER``, or an emulator's on this machine.
    scope
        What the series found here belong to.
    prefix
        Only blobs in this folder; nothing for the whole container.

    Raises
    ------
    InvalidInputError
        The container is reached over plain HTTP on another machine.
    """

    def __init__(self, container: ContainerClient, *, scope: str, prefix: str = "") -> None:
        base = urlsplit(container.url)
        if base.scheme != "https" and f"{base.netloc}".rpartition(":")[0] not in _LOOPBACK:
            raise InvalidInputError("a container must be reached by https")
        self._scheme = base.scheme
        self._host = base.netloc.lower()
        self._hosts = frozenset({self._host, _dfs_of(self._host)})
        self._path = f"{base.path.rstrip('/')}/"
        self._scope = scope
        self._prefix = folder_prefix(prefix)
        self._reader = AzureBlobReader(container)

    def locate(self, url: str) -> Located | None:
        """The blob, or None when the URL is not inside this source. Makes no request.

        Percent-encoded or not, by the blob or the Data Lake host, a blob has one canonical URL.
        A ``+`` is a plus: only queries spell a space so.
        """
        name = self._name_in(url)
        if name is None or not name.startswith(self._prefix) or not is_addressable(name):
            return None
        return Located(scope=self._scope, url=self.url_of(name), name=name, store=self._reader)

    def url_of(self, name: str) -> str:
        """The canonical URL of a blob of this container."""
        return f"{self._scheme}://{self._host}{self._path}{quote(name, safe='/')}"

    def _name_in(self, url: str) -> str | None:
        if len(url) > _MAX_URL_CHARACTERS or not _FORBIDDEN.isdisjoint(url):
            return None
        scheme, separator, rest = url.partition("://")
        host, slash, path = rest.partition("/")
        # Compared as it is written: no port, user, encoding or other spelling is understood.
        if not separator or scheme.lower() != self._scheme or host.lower() not in self._hosts:
            return None
        path = slash + path
        if not path.startswith(self._path):
            return None
        try:
            return unquote_to_bytes(path.removeprefix(self._path)).decode()
        except ValueError:  # not UTF-8, or a lone surrogate
            return None


def _dfs_of(host: str) -> str:
    """The Data Lake host of the same account: events of a hierarchical namespace name it."""
    account, dot, rest = host.partition(".blob.")
    return f"{account}.dfs.{rest}" if dot else host
