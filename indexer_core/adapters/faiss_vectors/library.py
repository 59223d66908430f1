"""FAISS, imported when it is first needed: that takes 0.3 s and 66 MB."""

from typing import Any


def load_faiss() -> Any:
    """The module `faiss`."""
    import faiss

    return faiss
