"""The second home of the index, for programs whose settings name a Milvus; only they need pymilvus.

Nothing is asked of Milvus before the first question, so a program starts without it, too.
"""

from indexer_core.adapters.milvus.settings import MilvusSettings
from indexer_core.errors import InvalidInputError
from indexer_core.ports import BlobStore
from indexer_core.vector_index import IndexHome

MILVUS_SETTINGS = "INDEXER_MILVUS_"
"""Before URI, TOKEN, PREFIX and TIMEOUT_S in the functions; without a URI segments are searched."""


def milvus_home(settings: MilvusSettings, blobs: BlobStore) -> IndexHome:
    """Where states of the index of these blobs come from on a Milvus.

    Raises
    ------
    InvalidInputError
        Milvus's client is not installed.
    """
    try:
        from indexer_core.adapters.milvus.home import MilvusHome
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "pymilvus":
            raise
        raise InvalidInputError(
            "an index on Milvus needs its client: pip install 'dicom-indexer[milvus]'"
        ) from error
    return MilvusHome(settings, blobs)
