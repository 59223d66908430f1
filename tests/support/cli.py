"""The command line in this process, over a folder of made-up files."""

import json
from pathlib import Path

from local_host import cli
from tests.support.dicom import dicom_object, uid


class Cli:
    """Runs commands in this process, as a terminal would."""

    def __init__(self, root: Path, exported: Path, capsysbinary) -> None:
        self.data = root / "data"
        self.folder = root / "in"
        self.folder.mkdir()
        self.data.mkdir()
        (self.data / "encoders").symlink_to(exported)
        self._captured = capsysbinary
        self.error = ""

    def run(self, *arguments: object, status: int = 0) -> str:
        self._captured.readouterr()
        found = cli.main([str(argument) for argument in (*arguments, "--data", self.data)])
        out, error = self._captured.readouterr()
        self.error = error.decode()
        assert "Traceback" not in self.error
        assert found == status, self.error
        return out.decode()

    def index(self, status: int = 0) -> dict:
        return json.loads(self.run("index", self.folder, "--format", "json", status=status))

    def records(self, *arguments: object) -> dict[str, dict]:
        lines = self.run("export", *arguments).splitlines()
        return {record["seriesInstanceUid"]: record for record in map(json.loads, lines)}

    def search(self, text: str, *arguments: object) -> dict:
        return json.loads(self.run("search", text, "--format", "json", *arguments))

    def put(self, name: str, **attributes: object) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dicom_object(**attributes))
        return path

    def newest(self) -> int:
        return json.loads(self.run("status", "--format", "json"))["manifest"]


def uid_of(series: str) -> str:
    return uid("study", series)
