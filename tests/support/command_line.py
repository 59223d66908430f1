"""`dicom-indexer` in processes of its own, and what its state database says meanwhile."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from pydicom.data import get_testdata_file

TIMEOUT_S = 600.0
NOT_COMPARED = ("revision",)


def exported_encoder(config) -> Path:
    """The exported text encoder; kept between runs of the tests, since it takes long to make."""
    from gpu_worker.encoders.export import export_text_encoder

    folder = config.cache.mkdir("encoders") / "minilm-l6-v2"
    export_text_encoder(folder)  # an intact one is kept as it is
    return folder


class CommandLine:
    """`dicom-indexer --data DATA` in processes of its own."""

    def __init__(self, data: Path, encoder: Path, key_file: Path) -> None:
        self.data = data
        self._environment = {**os.environ, "DICOM_INDEXER_PATIENT_KEY_FILE": str(key_file)}
        (data / "encoders").mkdir(parents=True)
        (data / "encoders" / encoder.name).symlink_to(encoder)

    def start(self, *arguments: str, **options) -> subprocess.Popen:
        command = [sys.executable, "-m", "local_host.cli", "--data", str(self.data), *arguments]
        return subprocess.Popen(
            command,
            env=self._environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **options,
        )

    def run(self, *arguments: str, **options) -> subprocess.CompletedProcess:
        process = self.start(*arguments, **options)
        out, err = process.communicate(timeout=TIMEOUT_S)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def ask(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def records(self) -> dict[str, dict]:
        lines = self.ask("export", "--format", "ndjson", "--include-blobs").splitlines()
        records = [json.loads(line) for line in lines]
        assert len({record["seriesKey"] for record in records}) == len(records)
        return {
            record["seriesKey"]: {k: v for k, v in record.items() if k not in NOT_COMPARED}
            for record in records
        }

    def count(self, table: str, where: str = "1", values: tuple = ()) -> int:
        """Rows in the state database, 0 before it is there."""
        state = self.data / "state.sqlite"
        if not state.exists():
            return 0
        try:
            with closing(sqlite3.connect(f"file:{state}?mode=ro", uri=True)) as connection:
                query = f"SELECT count(*) FROM {table} WHERE {where}"
                return connection.execute(query, values).fetchone()[0]
        except sqlite3.OperationalError:
            return 0  # its tables are being made

    def queued(self, name: str) -> int:
        return self.count("messages", "queue = ?", (name,))

    def n_manifests(self) -> int:
        return len(list((self.data / "index" / "manifests").glob("*")))


def copy_files(folder: Path, samples: list[Path]) -> None:
    folder.mkdir()
    for number, sample in enumerate(samples):
        shutil.copyfile(sample, folder / f"{number:04d}-{sample.name}")


def pydicom_files() -> list[Path]:
    folder = Path(get_testdata_file("CT_small.dcm")).parent
    return sorted(path for path in folder.rglob("*") if path.is_file())
