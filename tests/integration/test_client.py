"""The client against `dicom-indexer serve` over the demo's files, and the notebook that uses it."""

import http.server
import importlib.util
import json
import sys
import threading
from importlib.resources import files
from pathlib import Path

import nbformat
import pyarrow as pa
import pytest

from indexer_client import ApiProblemError, Client, UnreachableError
from indexer_client.transport import Transport
from tests.support.served import Served
from tests.support.system import index_folder

ROOT = Path(__file__).parents[2]
SAMPLES = Path(str(files("pydicom") / "data" / "test_files"))


@pytest.fixture(scope="module")
def address(tmp_path_factory, exported):
    data = tmp_path_factory.mktemp("client") / "data"
    data.mkdir()
    (data / "encoders").symlink_to(exported)
    index_folder(data, SAMPLES).close()
    server = Served(data)
    yield server.url
    assert server.stop()[0] == 0


@pytest.fixture
def client(address):
    with Client(address, purpose="tests") as made:
        yield made


def test_what_is_found_is_typed_and_a_table_of_three_kinds(client):
    found = client.search("sagittal MRI of the brain", top=3)
    assert [each.modality for each in found] == ["MR"] * 3
    best = found[0]
    assert (best.body_region, best.plane) == ("head", "sagittal")
    assert best.why.text in best.raw["why"]["text"]
    assert {"brain", "sagittal"} <= set(best.why.words)
    assert best.why.evidence["plane"].source == "geometry"
    assert found.total <= client.status()["series"]
    table = found.to_arrow()
    assert table.schema == client.search("zebra", filters=["modality=US"], top=1).to_arrow().schema
    assert table.column("uid").to_pylist() == [each.uid for each in found[:]]
    assert found.to_pandas()["score"].tolist() == [each.score for each in found]
    assert found.to_polars().shape == (3, table.num_columns)


def test_pages_lead_to_the_end(client):
    first = client.search("head", top=20)
    pages = list(client.pages(first))
    keys = [each.key for page in pages for each in page]
    assert len(keys) == len(set(keys)) == client.status()["series"]
    assert {page.manifest for page in pages} == {first.manifest}
    studies = client.search("head", top=100, level="study")
    assert len(studies) == len({each.study_uid for each in studies}) < len(keys)


def test_lists_lead_to_the_end_in_their_order(client):
    first = client.list_series(sort="-instances", top=30)
    found = [each for page in client.pages(first) for each in page]
    assert len({each.key for each in found}) == len(found) == first.total
    assert first.total == client.status()["series"]
    counts = [each.instances for each in found]
    assert counts == sorted(counts, reverse=True)
    named = client.list_series(
        series=[each.key[:16] for each in found[:5]], filters=["modality=CT"]
    )
    assert {each.key for each in named} == {e.key for e in found[:5] if e.modality == "CT"}


def test_a_series_its_look_alikes_and_those_of_a_file(client):
    best = client.search("CT", filters=["modality=CT", "hasPixels=true"], top=1)[0]
    (known,) = client.series(best.uid)
    assert known.key == best.key
    assert known.why is None
    assert client.trace(best.uid)[0]["index"]["searchable"]
    alike = client.similar(best.uid, filters=["modality=CT"], top=2)
    assert best.key not in {each.key for each in alike}
    assert len(alike) == 2
    uploaded = client.similar_to(SAMPLES / "CT_small.dcm", top=1)
    assert uploaded[0].score > 0.999
    assert client.similar_to((SAMPLES / "CT_small.dcm").read_bytes(), top=1) == uploaded
    with pytest.raises(ApiProblemError) as refused:
        client.pictures("a chest")
    assert (refused.value.status, refused.value.code) == (501, "imageEncoderUnavailable")


def test_counts_and_the_map(client):
    counted = client.facets(["modality", "sex"], filters=["modality=MR,CT"])
    assert set(counted["modality"].counts) == {"MR", "CT"}
    n_found = sum(counted["modality"].counts.values())
    assert n_found == client.search("x", filters=["modality=MR,CT"], interpret=False).total
    few = client.facets(["modality"], least=5)["modality"]
    assert None in few.counts.values() or few.other is None
    points = client.map(filters=["modality=MR"])
    assert isinstance(points, pa.Table)
    assert set(points.column("modality").to_pylist()) == {"MR"}


def test_a_cohort_is_saved_shown_read_and_followed(client):
    saved = client.save_cohort("brains", "MRI of the brain", purpose="tests")
    assert (saved.name, saved.version, saved.as_saved) == ("brains", 1, True)
    assert saved.attrition[0].series == client.status()["series"]
    assert saved.attrition[-1].series == saved.series > 0
    shown = client.cohort("brains", 1)
    assert shown.digest == saved.digest
    assert shown.card["series"] == saved.series
    series = client.cohort_series("brains")
    assert {(each.modality, each.body_region) for each in series} == {("MR", "head")}
    assert client.news("brains").counts["added"] == 0
    named = client.save_cohort("brains", uids=[series[0].uid])
    assert (named.version, named.series) == (2, 1)
    assert [each.version for each in client.cohorts()] == [1, 2]


def test_what_is_refused_and_who_is_not_there(client, address):
    with pytest.raises(ApiProblemError, match="sort") as refused:
        client.search("x", filters=["sort=1"])
    assert (refused.value.status, refused.value.code) == (400, "invalidInput")
    with pytest.raises(ApiProblemError) as unknown:
        client.series("1.2.3")
    assert unknown.value.code == "notFound"
    with Client("http://127.0.0.1:9") as nobody, pytest.raises(UnreachableError):
        nobody.status()
    other = Transport(address)
    with pytest.raises(ApiProblemError) as absent:
        other.json("GET", "/nothing/here")
    assert absent.value.status == 404
    other.close()


class Busy(http.server.BaseHTTPRequestHandler):
    """Answers from a list: a code, or what is well."""

    answers: list[str]
    asked: list[dict[str, str]]

    def do_GET(self):
        self.asked.append(dict(self.headers))
        code = self.answers.pop(0)
        body = json.dumps({"series": 1} if code == "well" else {"code": code, "title": "no"})
        self.send_response(200 if code == "well" else 503)
        self.send_header("retry-after", "7")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *said):
        pass


@pytest.fixture
def busy():
    kind = type("Answers", (Busy,), {"answers": [], "asked": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield kind, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_service_that_is_busy_is_asked_again_as_it_says(busy):
    kind, address = busy
    waited: list[float] = []
    kind.answers += ["busy", "timeLimit", "well"]
    transport = Transport(address, key="k", token=lambda: "t", purpose="p", wait=waited.append)
    assert transport.json("GET", "/api/status") == {"series": 1}
    assert waited == [7.0, 7.0]
    told = {name.lower(): value for name, value in kind.asked[-1].items()}
    assert (told["x-functions-key"], told["authorization"]) == ("k", "Bearer t")
    assert told["x-purpose"] == "p"
    kind.answers += ["busy"] * 4
    with pytest.raises(ApiProblemError) as refused:
        transport.json("GET", "/api/status")
    assert refused.value.code == "busy"
    assert waited == [7.0] * 5
    transport.close()


def test_what_may_have_happened_is_not_asked_for_again(busy):
    kind, address = busy
    kind.answers += ["unknownOutcome", "well"]
    transport = Transport(address, wait=lambda _: None)
    with pytest.raises(ApiProblemError) as unknown:
        transport.json("GET", "/api/status")
    assert unknown.value.code == "unknownOutcome"
    transport.close()


def test_the_notebook_shows_what_it_has_shown(tmp_path, exported):
    name = "docs_run_notebook"
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / "run_notebook.py")
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    data = tmp_path / "data"
    data.mkdir()
    (data / "encoders").symlink_to(exported)
    index_folder(data, SAMPLES).close()
    server = Served(data)
    try:
        again = module.texts(module.executed(server.url))
    finally:
        server.stop()
    assert again == module.texts(nbformat.read(module.NOTEBOOK, as_version=4))
    assert any("series meet every filter" in text for text in again)
