"""The second home of the index, for programs whose settings name a Milvus; only they need pymilvus.

Nothing is asked of Milvus before the first question, so a program starts without it, too.
"""

from indexer_core.adapters.milvus.settings import MilvusSettings, client_at_hand
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
    with client_at_hand():
        from indexer_core.adapters.milvus.home import MilvusHome
    return MilvusHome(settings, blobs)
