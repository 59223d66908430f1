"""The pictures of the templates: nothing is missing, nothing lies on something else."""

import itertools
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.check.expanding import Deployment
from infra.check.scenarios import PLANS, read_files, scenarios
from infra.check.values import SUBSCRIPTION, Resource, ResourceRef
from infra.picture.__main__ import IMAGES, PRIVATE, pictures
from infra.picture.drawing import drawn
from infra.picture.matrix import grants_of, matrix
from infra.picture.placing import WIDTH, placed, text_width
from infra.picture.reading import picture_of
from infra.picture.routing import Channel, Wire, crossings, spread


@pytest.fixture(scope="module")
def found():
    return {one.name: one for one in scenarios(read_files())}


def covered(svg):
    return {address for group in re.findall(r'data-of="([^"]*)"', svg) for address in group.split()}


def flows(deployment):
    return {(one.source, one.target): one for one in picture_of(deployment, "").flows}


def in_memory(files, change):
    return {one.name: one for one in scenarios({**files, **change})}


def test_the_pictures_in_the_documentation_are_those_of_the_templates(found):
    for name, content in pictures(found).items():
        assert (IMAGES / name).read_text() == content, f"{name}: run `make infra-picture`"


@pytest.mark.parametrize("name", [plan.name for plan in PLANS])
def test_every_resource_is_drawn(found, name):
    deployment = found[name].deployment
    svg = drawn(placed(picture_of(deployment, "title")), "description")
    everything = covered(svg) | covered(matrix(deployment, "title", "description"))
    assert everything == {one.ref.address for one in deployment.resources}


def test_what_nobody_has_placed_is_drawn_among_the_others(found):
    known = found[PRIVATE].deployment
    ref = ResourceRef(
        address="main/news",
        type="Microsoft.News/things",
        names=("a-new-thing",),
        scope=f"{SUBSCRIPTION}/resourceGroups/rg-dicom-prod",
        is_existing=False,
    )
    inner = replace(
        ref, address="main/inner", type="Microsoft.News/things/parts", names=("a-new-thing", "part")
    )
    more = [Resource(ref=one, version="1", where="main.bicep:1", body={}) for one in (ref, inner)]
    deployment = replace(known, resources=(*known.resources, *more))
    picture = picture_of(deployment, "")
    other = next(band for band in picture.bands if band.title == "Other")
    assert [(row.title, [chip.label for chip in row.chips]) for row in other.rows] == [
        ("News/things", ["a-new-thing"]),
        ("News/things/parts", ["part"]),
    ]
    assert {"main/news", "main/inner"} <= covered(drawn(placed(picture), ""))


def test_arrows_are_those_that_the_templates_say(found):
    of = flows(found[PRIVATE].deployment)
    index, app, worker = "main/index", "main/functions/app", "main/worker/app"
    events = {ends for ends, flow in of.items() if flow.is_event}
    assert events == {
        ("main/files/account", "main/topic/topic"),
        ("main/fileEvents/subscription", f"{index}/storageQueues[0]"),
        ("main/fileEvents/subscription", f"{index}/blobContainers[1]"),
        *((f"{index}/storageQueues[{number}]", app) for number in range(4)),
        (f"{index}/storageQueues[4]", worker),
    }
    # Read only: towards the program; announced: away from it; else both ways.
    assert not of["main/files/account", app].is_mutual
    assert of["main/files/account", app].label == "INDEXER_SOURCES"
    assert not of[worker, "main/announcements/topic"].is_mutual
    assert of[worker, f"{index}/account"].is_mutual
    assert ("main/registry/registry", worker) in of
    assert (worker, "main/host/account") not in of


def test_an_arrow_follows_what_the_templates_say():
    files = read_files()
    worker = files["main.bicep"].replace("queueName: readyQueue", "queueName: 'series-check'")
    assert worker != files["main.bicep"]
    of = flows(in_memory(files, {"main.bicep": worker})[PRIVATE].deployment)
    assert ("main/index/storageQueues[2]", "main/worker/app") in of
    assert ("main/index/storageQueues[4]", "main/worker/app") not in of


def test_nobody_has_a_role_in_the_matrix_that_the_templates_do_not_give(found):
    deployment = found[PRIVATE].deployment
    heads, rows = grants_of(deployment)
    assert heads == ("id-functions", "id-worker", "operators' group", "evgt-files")
    said = {
        (head, name, role)
        for row in rows
        for head, cell in zip(heads, row.cells, strict=True)
        for role in cell
        for name in row.names
    }
    assert ("evgt-files", "blob-events", "Storage Queue Data Message Sender") in said
    assert ("evgt-files", "series-ready", "Storage Queue Data Message Sender") not in said
    assert ("id-functions", "dicom", "Storage Blob Data Reader") in said
    n_assignments = len(deployment.of_type("Microsoft.Authorization/roleAssignments"))
    assert sum(len(row.names) * sum(map(len, row.cells)) for row in rows) == n_assignments


@pytest.mark.parametrize("name", [plan.name for plan in PLANS])
def test_things_lie_beside_each_other_and_words_within_them(found, name):
    drawing = placed(picture_of(found[name].deployment, "title"))
    solid = [rect for _, rect in drawing.boxes] + [rect for _, rect in drawing.bands]
    for one, other in itertools.combinations(solid, 2):
        assert (
            one.right <= other.x
            or other.right <= one.x
            or (one.bottom <= other.y or other.bottom <= one.y)
        )
    for rect in solid:
        assert drawing.frame.x < rect.x
        assert rect.right < drawing.frame.right <= WIDTH
        assert rect.bottom < drawing.frame.bottom < drawing.height
    for box, rect in drawing.boxes:
        marks = sum(text_width(words, 9.5) + 14 for _, words in box.marks)
        assert text_width(box.name, 13) + marks <= rect.width - 18, box.name
    for chip, rect in drawing.chips:
        assert text_width(chip.label, 11) <= 1.15 * rect.width, chip.label  # pressed a little
        assert (
            sum(
                home.x < rect.x and rect.right < home.right and home.y < rect.y < home.bottom
                for home in solid
            )
            == 1
        )
    for one, other in itertools.combinations([rect for _, rect in drawing.chips], 2):
        assert (
            one.right < other.x
            or other.right < one.x
            or (one.bottom < other.y or other.bottom < one.y)
        )


@pytest.mark.parametrize("name", [plan.name for plan in PLANS])
def test_no_line_runs_off_the_paper(found, name):
    svg = drawn(placed(picture_of(found[name].deployment, "title")), "description")
    texts = list(ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"))
    assert len(texts) > 50
    for text in texts:
        if text.get("class") not in {"middle", "mark"} and not text.get("textLength"):
            assert float(text.get("x")) + text_width(text.text, 11) <= WIDTH - 14, text.text


def test_arrows_end_at_the_things_that_they_are_of(found):
    drawing = placed(picture_of(found[PRIVATE].deployment, ""))
    solid = {box.address: rect for box, rect in drawing.boxes}
    for flow, path in drawing.paths:
        for end, (x, y) in ((flow.source, path.points[0]), (flow.target, path.points[-1])):
            if rect := solid.get(end):
                assert x in {rect.x, rect.right} or y in {rect.y, rect.bottom}
                assert rect.x <= x <= rect.right
                assert rect.y <= y <= rect.bottom
    assert len(drawing.paths) == len(drawing.picture.flows)


def test_it_is_a_document_that_says_what_it_is(found):
    names = {"s": "http://www.w3.org/2000/svg"}
    for content in pictures(found).values():
        root = ET.fromstring(content)
        assert root.get("role") == "img"
        assert root.find("s:title", names).text
        assert "make infra-picture" in root.find("s:desc", names).text
        assert "prefers-color-scheme: dark" in content
        assert "http" not in content.replace("http://www.w3.org/2000/svg", "")


def test_without_anything_there_is_a_picture_of_nothing():
    empty = picture_of(Deployment(resources=(), existing=(), problems=()), "nothing")
    assert ET.fromstring(drawn(placed(empty), "")) is not None


heights = st.lists(st.integers(0, 400).map(float), min_size=1, max_size=6)


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400)), max_size=5))
def test_no_other_order_of_verticals_crosses_less(ends):
    wires = [
        Wire(of=n, left_x=0.0, left_y=float(a), right_x=60.0, right_y=float(b), goes_right=True)
        for n, (a, b) in enumerate(ends)
    ]
    paths = dict(Channel(left=0.0, right=60.0).paths(wires))
    bent = [wire for wire in wires if len(paths[wire.of].points) == 4]
    order = sorted(range(len(bent)), key=lambda n: paths[bent[n].of].points[1][0])
    least = min(crossings(bent, some) for some in itertools.permutations(range(len(bent))))
    assert crossings(bent, order) == least
    verticals = [paths[wire.of].points[1][0] for wire in bent]
    assert len(set(verticals)) == len(verticals)


@given(heights.map(sorted), st.integers(0, 100), st.integers(1, 300))
def test_ends_of_arrows_are_apart_and_in_their_order(wishes, top, height):
    places = spread(wishes, float(top), float(top + height))
    assert len(places) == len(wishes)
    assert all(top <= place <= top + height for place in places)
    apart = min(11.0, height / max(len(wishes) - 1, 1))
    assert all(b - a >= apart - 1e-6 for a, b in itertools.pairwise(places))
