"""Vector files: the contract on what FAISS scores."""

from indexer_core.adapters.faiss_vectors import FlatFp16Vectors
from indexer_core.testing.contracts.vectors import VectorFilesContract


class TestFlatFp16Vectors(VectorFilesContract):
    @staticmethod
    def files():
        return FlatFp16Vectors()

    def test_kind_names_the_format(self):
        assert self.files().kind == "flat-fp16"


class TestFlatFp16VectorsInLists(VectorFilesContract):
    """The same with lists, even among a few vectors."""

    @staticmethod
    def files():
        return FlatFp16Vectors(lists_from=1)
