"""A whole system over a folder: the command line's own objects, without a command line."""

from pathlib import Path
from types import SimpleNamespace

from function_app.search import SearchRequest, records, search
from indexer_core.adapters.local_files import url_of
from indexer_core.index.reader import Snapshot
from indexer_core.search import blobs_of
from indexer_core.snapshot_index import SnapshotIndex
from indexer_core.templates import template_names
from local_host import commands
from local_host.settings import Settings
from local_host.wiring import LocalSystem


def settings_for(data: Path, **changes: object) -> Settings:
    """Settings with everything, the patient key too, inside one directory."""
    values = {"data": data, "patient_key_file": data.parent / "patient.key", **changes}
    return Settings(**values)


def index_folder(data: Path, folder: Path) -> LocalSystem:
    """Index a folder as `dicom-indexer index` does."""
    settings = settings_for(data)
    options = SimpleNamespace(paths=[str(folder)], format="json")
    assert commands.run_index(options, settings) == 0
    return LocalSystem(settings)


class Searcher:
    """Ranks files of an indexed folder by the series that they belong to."""

    def __init__(self, system: LocalSystem, folder: Path) -> None:
        self.system = system
        self.snapshot: Snapshot = system.reader().snapshot
        self.series_of: dict[str, str] = {}
        self.records: dict[str, dict] = {}
        root = url_of(folder)
        for hit, record in records(SnapshotIndex(self.snapshot), ()):
            self.records[record["seriesKey"]] = record
            for url in blobs_of(hit):
                self.series_of[url.removeprefix(f"{root}/")] = record["seriesKey"]

    def rank(self, text: str) -> list[str]:
        """Series keys, best first, all that are found."""
        return [hit["seriesKey"] for hit in self.answer(text)["value"]]

    def answer(self, text: str, *, interpret: bool = True) -> dict:
        """What the API answers."""
        return search(
            SearchRequest(text=text, top=1000, interpret=interpret),
            SnapshotIndex(self.snapshot),
            self.system.encoder,
            template_names(),
        )
