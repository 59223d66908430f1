"""`python -m gpu_worker` as processes of their own, on an Azurite."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split

from gpu_worker.health import PORT, problem
from gpu_worker.wiring import BATCH, GRACE, STALL, VISIBILITY, leave_export
from indexer_core.adapters.azure.configured import ENCODER_PREFIX
from indexer_core.adapters.azure.settings import PATIENT_KEY, QUIET, SOURCES, STORAGE
from indexer_core.adapters.faiss_vectors import FlatFp16Vectors
from indexer_core.adapters.onnx_text import MANIFEST_NAME, OnnxTextEncoder
from indexer_core.adapters.system import RandomIds, SystemClock
from indexer_core.encoders import prefix_of
from indexer_core.index.commit import Manifests
from indexer_core.index.filling import text_vectors
from indexer_core.index.segment import TEXT_SPACE
from indexer_core.index.switching import SpaceSwitch, state_of
from indexer_core.testing.memory import MemoryBlobs
from tests.support.azure_pipeline import INBOX, SCOPE, AzurePipeline, key_of, written_rows
from tests.support.azurite import ROOT, FaultyProxy, missing, running_azurite
from tests.support.bag_of_words import DIMENSION, write_bag_of_words
from tests.support.dicom import dicom_object
from tests.support.fake_endpoint import KEY, fake_endpoint
from tests.support.ports import quiet_ports

pytestmark = [pytest.mark.azurite, pytest.mark.timeout(300)]

TIMEOUT_S = 600.0


class Gate(FaultyProxy):
    """Lets requests for users' files through once it is open."""

    def __init__(self, azurite, service="blob"):
        self.is_open = threading.Event()
        self.is_open.set()
        self.reached = threading.Event()
        super().__init__(azurite, service)

    def take(self, method, path):
        if ".dcm" in path and not self.is_open.is_set():
            self.reached.set()
            self.is_open.wait(TIMEOUT_S)
        return super().take(method, path)

    def close(self):
        self.is_open.set()
        super().close()


class WorkerProcess:
    """A worker, and what it logs."""

    def __init__(self, environment, *arguments):
        self.lines = []
        self._new = threading.Condition()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gpu_worker", *arguments],
            env=environment,
            cwd=ROOT,
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stderr:
            with self._new:
                self.lines.append(line)
                self._new.notify_all()

    def wait_for(self, text):
        with self._new:
            told = self._new.wait_for(
                lambda: any(text in line for line in self.lines), timeout=TIMEOUT_S
            )
        assert told, self.lines

    def end(self):
        code = self.process.wait(TIMEOUT_S)
        self._reader.join(TIMEOUT_S)
        self.process.stdout.close()
        self.process.stderr.close()
        return code

    def messages(self):
        return [json.loads(line)["message"] for line in self.lines]


@pytest.fixture(scope="module")
def azurite(tmp_path_factory):
    if (reason := missing()) is not None:
        pytest.skip(reason)
    with running_azurite(tmp_path_factory.mktemp("azurite")) as running:
        yield running


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A tiny text encoder: the real one is 90 MB, and is tested elsewhere."""
    torch = pytest.importorskip("torch")
    from gpu_worker.encoders.export import export_tower
    from gpu_worker.encoders.minilm import TextTower

    class TinyModule(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.embedding = torch.nn.Embedding(30522, 8)

        def forward(self, input_ids, attention_mask):
            weights = attention_mask.unsqueeze(-1).to(torch.float32)
            mean = (self.embedding(input_ids) * weights).sum(1) / weights.sum(1).clamp(min=1.0)
            return torch.nn.functional.normalize(mean, dim=1)

    characters = Tokenizer(WordLevel({"[UNK]": 0, **{chr(c): c for c in range(32, 127)}}, "[UNK]"))
    characters.pre_tokenizer = Split("", "isolated")
    tower = TextTower(
        encoder_id="tiny/1",
        dimension=8,
        max_tokens=64,
        module=TinyModule().eval(),
        tokenizer_json=characters.to_str().encode(),
        source_sha256="0" * 64,
    )
    folder = tmp_path_factory.mktemp("encoder") / "text"
    export_tower(tower, folder)
    return folder


@pytest.fixture
def gate(azurite):
    gate = Gate(azurite)
    yield gate
    gate.close()


@pytest.fixture
def house(azurite, gate, encoder):
    """An empty account but for the text encoder in it; files are read by the gate."""
    house = AzurePipeline(azurite.connection_string, gate.connection_string).create()
    house.text_encoder = OnnxTextEncoder.load(encoder)
    for entry in list(house.stores.index.list()):
        house.stores.index.delete(entry.name)
    for file in encoder.iterdir():
        house.stores.index.put_if_absent(ENCODER_PREFIX + file.name, file.read_bytes())
    yield house
    house.close()


@pytest.fixture
def start(azurite, gate):
    """Starts workers; whatever is still running at the end is killed."""
    started = []

    def one(*arguments, **changes):
        source = {"scope": SCOPE, "account": gate.connection_string, "container": INBOX}
        environment = {
            **os.environ,
            STORAGE: azurite.connection_string,
            SOURCES: json.dumps([source]),
            PATIENT_KEY: "MDEyMzQ1Njc4OWFiY2RlZg==",
            QUIET: "0",
            VISIBILITY: "600",
            **changes,
        }
        started.append(WorkerProcess(environment, *arguments))
        return started[-1]

    yield one
    for worker in started:
        if worker.process.poll() is None:
            worker.process.kill()
            worker.end()


def assemble(house, names, value=0):
    """Upload a slice of each series and close them: their messages wait for the worker."""
    for name in names:
        data = dicom_object(series=name, value=value, SeriesDescription=f"Series {name}")
        house.put(f"{name}.dcm", data)
        house.tell(f"{name}.dcm")
    while house.ingest_all() or house.check_all():
        pass


def rows(house):
    return {key: row.revision for key, row in house.live().items()}


def n_indexed(*workers):
    told = [m for worker in workers for m in worker.messages() if m.startswith("batch series=")]
    return sum(int(m.partition("indexed=")[2].split()[0]) for m in told)


def test_a_worker_that_is_told_to_end_finishes_what_it_started_and_the_next_does_the_rest(
    house, gate, start
):
    names = [f"end{number}" for number in range(12)]
    assemble(house, names)
    gate.is_open.clear()
    first = start()
    assert gate.reached.wait(TIMEOUT_S), first.lines
    first.process.send_signal(signal.SIGTERM)
    first.wait_for("told to end")
    gate.is_open.set()
    assert first.end() == 0, first.lines
    done = rows(house)
    assert 1 <= len(done) < len(names)
    assert house.lengths["series-ready"] == len(names) - len(done)

    second = start("--until-idle")
    assert second.end() == 0, second.lines
    assert rows(house) == {key_of(name): 1 for name in names}
    assert n_indexed(first, second) == len(names)
    assert not any(house.lengths.values())
    assert house.problems() == []


def test_a_batch_that_outlasts_the_grace_is_given_back_at_once(house, gate, start):
    names = ["grace1", "grace2", "grace3"]
    assemble(house, names)
    gate.is_open.clear()
    first = start(**{GRACE: "0.2"})
    assert gate.reached.wait(TIMEOUT_S), first.lines
    first.process.send_signal(signal.SIGTERM)
    assert first.end() == 0, first.lines
    assert any("given back" in message for message in first.messages())
    assert rows(house) == {}

    # Nobody waits for the ten minutes for which the first one had hidden them.
    gate.is_open.set()
    second = start("--until-idle")
    assert second.end() == 0, second.lines
    assert rows(house) == {key_of(name): 1 for name in names}
    assert house.problems() == []


def test_a_worker_that_hangs_says_so_and_gives_back_at_once_what_it_keeps_hidden(
    house, gate, start
):
    names = ["hangs1", "hangs2"]
    assemble(house, names)
    gate.is_open.clear()
    (port,) = quiet_ports(1)
    # By its grace it could take ten minutes more; hidden are its messages for as long as it lives.
    health = {PORT: str(port), STALL: "1", GRACE: "600"}
    first = start(**health)
    assert gate.reached.wait(TIMEOUT_S), first.lines
    while (told := problem(health)) is None:
        assert first.process.poll() is None, first.lines
    assert "too long" in told
    first.process.send_signal(signal.SIGTERM)
    assert first.end() == 0, first.lines
    assert any("given back" in message for message in first.messages())

    gate.is_open.set()
    second = start("--until-idle")
    assert second.end() == 0, second.lines
    assert rows(house) == {key_of(name): 1 for name in names}


def test_a_worker_that_is_killed_loses_nothing(house, gate, azurite, start):
    assemble(house, ["killed1", "killed2"])
    gate.is_open.clear()
    first = start()
    assert gate.reached.wait(TIMEOUT_S), first.lines
    first.process.kill()
    first.end()
    gate.is_open.set()
    azurite.advance(601.0)
    second = start("--until-idle")
    assert second.end() == 0, second.lines
    assert rows(house) == {key_of("killed1"): 1, key_of("killed2"): 1}
    assert house.problems() == []


def test_a_worker_outlives_an_outage_and_goes_on_by_itself(house, gate, azurite, start):
    names = ["outage1", "outage2", "outage3"]
    assemble(house, names)
    gate.is_open.clear()
    worker = start()
    assert gate.reached.wait(TIMEOUT_S), worker.lines
    azurite.kill()
    gate.is_open.set()
    # Whatever it tries next: nothing is set aside, and it is still there afterwards.
    worker.wait_for("batch ended early")
    azurite.start()
    azurite.advance(601.0)  # its messages are hidden for ten minutes
    worker.wait_for("batch series=")
    worker.process.send_signal(signal.SIGTERM)
    assert worker.end() == 0, worker.lines
    assert rows(house) == {key_of(name): 1 for name in names}
    assert set(written_rows(house).values()) == {1}
    assert not any(house.lengths.values())
    assert list(house.stores.rejects.all()) == []
    assert house.problems() == []


def test_two_workers_at_once_write_every_revision_once(house, start):
    names = [f"two{number}" for number in range(20)]
    assemble(house, names)
    assemble(house, names[:5], value=9)
    workers = [start("--until-idle", **{BATCH: "3"}) for _ in range(2)]
    assert [worker.end() for worker in workers] == [0, 0], [w.lines for w in workers]
    # The first contents of five were overtaken; their blobs may have been put up for another look.
    while house.ingest_all() or house.check_all():
        pass
    newer = set(names[:5])
    assert rows(house) == {key_of(name): 2 if name in newer else 1 for name in names}
    assert not any(house.lengths.values())
    assert house.problems() == []
    assert set(written_rows(house).values()) == {1}, "a revision was written twice"


def test_a_worker_brings_the_encoder_that_is_being_built_and_starts_with_the_one_that_is_live(
    house, encoder, start, tmp_path
):
    export = tmp_path / "export"
    encoder_id = write_bag_of_words(export, encoder / "tokenizer.json")
    index = house.stores.index
    leave_export(
        index, prefix_of(encoder_id), MANIFEST_NAME, lambda folder: shutil.copytree(export, folder)
    )
    _ = house.indexer  # opened, with the encoder that the worker leaves
    switcher = SpaceSwitch(
        blobs=index, vector_files=FlatFp16Vectors(), clock=SystemClock(), ids=RandomIds()
    )
    switcher.start(TEXT_SPACE, encoder_id, DIMENSION)
    assemble(house, ["both"])
    first = start("--until-idle")
    assert first.end() == 0, first.lines
    manifest = Manifests(index).newest()
    assert state_of(manifest, manifest.space(TEXT_SPACE)).is_complete
    switcher.switch(TEXT_SPACE, encoder_id, text_vectors(OnnxTextEncoder.load(export)))
    for entry in list(index.list(ENCODER_PREFIX)):
        index.delete(entry.name)  # of no use any more
    assemble(house, ["after"])
    second = start("--until-idle")
    assert second.end() == 0, second.lines
    assert rows(house) == {key_of("both"): 1, key_of("after"): 1}
    assert list(index.list(ENCODER_PREFIX)) == []
    assert house.problems() == []


@pytest.mark.parametrize(
    "left", [(), ("model.onnx",), ("tokenizer.json",), ("model.onnx", "encoder.json")]
)
def test_the_text_encoder_is_left_whole_whatever_another_worker_left(encoder, left):
    index = MemoryBlobs()
    for name in left:
        damaged = (encoder / name).read_bytes() + b" "
        index.put_if_absent(f"x/{name}", damaged)
    exports = []

    def export(folder):
        exports.append(shutil.copytree(encoder, folder))

    for _ in range(2):
        leave_export(index, "x/", MANIFEST_NAME, export)
    assert len(exports) == 1
    for file in encoder.iterdir():
        assert index.get(f"x/{file.name}").data == file.read_bytes()


def test_a_worker_without_settings_says_which_and_ends():
    if (reason := missing()) is not None:
        pytest.skip(reason)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("INDEXER", "Indexer"))}
    worker = WorkerProcess(environment)
    assert worker.end() == 1
    [message] = worker.messages()
    for name in (STORAGE, SOURCES, PATIENT_KEY):
        assert name in message


def test_a_worker_asks_the_endpoint_that_it_is_told_and_none_that_refuses_it(house, start):
    assemble(house, ["seen"])
    with fake_endpoint() as endpoint:
        endpoint.plant(255, "computed tomography brain axial, (CT BRAIN AXIAL)")
        asked = {"INDEXER_PIXEL_MODEL": endpoint.url, "INDEXER_PIXEL_MODEL_KEY": "wrong-key"}
        refused = start("--until-idle", **asked)
        assert refused.end() == 1
        assert any("refuses the key" in message for message in refused.messages())
        assert not any("wrong-key" in line for line in refused.lines)
        assert house.lengths["series-ready"] == 1

        asked["INDEXER_PIXEL_MODEL_KEY"] = KEY
        worker = start("--until-idle", **asked)
        assert worker.end() == 0, worker.lines
        assert not any(KEY in line for line in worker.lines)
    [row] = house.live().values()
    assert row.record["bodyRegion"] == "head"
    assert row.record["evidence"]["bodyRegion"]["source"] == "model:medimageinsight"
    assert house.problems() == []
