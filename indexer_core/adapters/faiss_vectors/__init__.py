"""Vector files scored by FAISS: fp16, inner product, each distinct vector once.

`layout` is the format, `distinct` and `files` write it, `reader` and `scan` search it. `version1`
reads what earlier releases wrote. FAISS is imported when the first file is searched: it takes
0.3 s and 66 MB.
"""

from indexer_core.adapters.faiss_vectors.files import FlatFp16Vectors
from indexer_core.adapters.faiss_vectors.reader import FlatFp16Reader

__all__ = ["FlatFp16Reader", "FlatFp16Vectors"]
