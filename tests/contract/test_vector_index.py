"""One contract for both homes of the index: segments in this process, and Milvus.

What is expected is worked out from the records and vectors by plain Python. In `test_two_homes`
they are compared with each other.
"""

import random
from collections import Counter, defaultdict

import numpy as np
import pytest

from indexer_core.errors import InvalidInputError, NotFoundError
from indexer_core.filters import parse_filter
from indexer_core.fitting import Match
from indexer_core.grouping import Level, grouped
from indexer_core.lexical import combine, matched_words, query_words
from indexer_core.named import Names
from indexer_core.paging import page_of
from indexer_core.selection import ANYTHING, Conditions
from indexer_core.sorting import Sort
from tests.support.segments import (
    IMAGE,
    IMAGE_DIMENSION,
    PROJECTION,
    PROJECTOR,
    TEXT,
    TEXT_DIMENSION,
    unit_vectors,
)
from tests.support.some_series import (
    KEYS,
    RESTRICTED,
    SERIES,
    by_score,
    known,
    nearest,
)
from tests.support.two_homes import MILVUS, SEGMENTS, TwoHomes

QUERY = unit_vectors("question", 1, TEXT_DIMENSION)[0]
PICTURE = unit_vectors("picture", 1, IMAGE_DIMENSION)[0]


@pytest.fixture(scope="module")
def homes(tmp_path_factory):
    homes = TwoHomes(str(tmp_path_factory.mktemp("milvus") / "m.db"))
    mixed = random.Random(4).sample(KEYS, len(KEYS))
    for part in (mixed[:60], mixed[60:90], mixed[90:]):
        homes.add({key: SERIES[key] for key in part})
    homes.follow()
    yield homes
    homes.close()


@pytest.fixture(scope="module", params=[SEGMENTS, MILVUS])
def index(homes, request):
    return homes.newest(request.param)


def conditions(*texts, **others):
    return Conditions(filters=tuple(map(parse_filter, texts)), **others)


def keys_of(hits):
    return [hit.key for hit in hits]


def test_a_state_says_which_it_is(homes, index):
    state = index.state
    assert (state.text_encoder, state.image_encoder) == (TEXT, IMAGE)
    assert (state.number, state.projection_version) == (
        homes.shelf.newest.number,
        PROJECTION.version,
    )
    assert state.n_series == len(SERIES)
    assert index.precision("text", exact=True).exact


@pytest.mark.parametrize("top", [1, 7, 200])
@pytest.mark.parametrize("asked", [(), ("modality=MR",), ("sex=F",)])
def test_the_nearest_texts_come_first_and_equal_ones_by_key(index, asked, top):
    chosen = index.select(conditions(*asked))
    scores = nearest([key for key in KEYS if all(_meets(key, text) for text in asked)], QUERY)
    hits = chosen.by_words("the", QUERY, top, exact=True)
    assert keys_of(hits) == by_score(scores)[:top]
    assert [hit.similarity for hit in hits] == pytest.approx(
        [scores[h.key] for h in hits], abs=1e-6
    )
    for hit in hits:
        numbers = np.sum(SERIES[hit.key].texts.astype(np.float64) * QUERY, axis=1)
        assert numbers[hit.text] == pytest.approx(max(numbers), abs=1e-6)


def _meets(key, text):
    field, value = text.split("=")
    return (known(key, field) or "").lower() == value.lower()


def test_exact_words_decide_between_what_is_about_equally_near(index):
    text = "knee look3"
    words, scores = query_words(text), {}
    for key, similarity in nearest(KEYS, QUERY).items():
        texts = [f"{SERIES[key].look} {number}" for number in range(5)]
        scores[key] = combine(similarity, words, matched_words(words, texts))
    hits = index.select(ANYTHING).by_words(text, QUERY, 12, exact=True)
    assert keys_of(hits) == by_score(scores)[:12]
    assert [hit.score for hit in hits] == pytest.approx([scores[h.key] for h in hits], abs=1e-6)
    assert hits[0].words == matched_words(words, [SERIES[hits[0].key].look])


CASES = [
    ("modality=MR", lambda v: v.lower() == "mr"),
    ("modality!=MR,us", lambda v: v.lower() not in ("mr", "us")),
    ("model~O_S", lambda v: "o_s" in v.lower()),
    ("model!~5%", lambda v: "5%" not in v),
    ("bodyPart=KNEE", lambda v: v == "Knee"),
    ("scope=NORTH", lambda v: v.lower() == "north"),
    ("ageYears>=60", lambda v: v >= 60),
    ("ageYears<41.5", lambda v: v < 41.5),
    ("ageYears=41,75.5", lambda v: v in (41, 75.5)),
    ("instances>2.5", lambda v: v > 2),
    ("instances=3,1.5", lambda v: v == 3),
    ("hasPixels=false", lambda v: v is False),
    ("studyDate=2019", lambda v: v.startswith("2019")),
    ("studyDate>=2019-05", lambda v: v >= "2019-05"),
    ("studyDate<=2019", lambda v: v < "2020"),
    ("studyDate>2019-05", lambda v: v >= "2019-06"),
    ("sequence=t1", lambda v: "t1" in [item.lower() for item in v]),
    ("sequence!=flair", lambda v: "FLAIR" not in v),
    ("flags=slicegap", lambda v: "sliceGap" in v),
    ("flags=Provisional", lambda v: "provisional" in v),
    ("flags!=provisional", lambda v: "provisional" not in v),
    ("plane=unknown", lambda v: False),
    ("plane=axial,unknown", lambda v: v == "axial"),
    ("plane!=axial,unknown", lambda v: v != "axial"),
]


def passed_by(text, meets):
    """Keys that pass a filter, and how many are left out because the field is unknown."""
    condition = parse_filter(text)
    values = {key: known(key, condition.field) for key in KEYS}
    if condition.field == "flags":
        return [key for key in KEYS if meets(values[key])], 0
    takes_unknown = "unknown" in condition.values and condition.operator == "="
    passed = [k for k, v in values.items() if (takes_unknown if v is None else meets(v))]
    is_asked = "unknown" in condition.values
    return passed, 0 if is_asked else sum(v is None for v in values.values())


@pytest.mark.parametrize(("text", "meets"), CASES, ids=[text for text, _ in CASES])
def test_filters_keep_what_meets_them_and_count_what_is_unknown(index, text, meets):
    passed, n_unknown = passed_by(text, meets)
    chosen = index.select(conditions(text))
    assert chosen.n_passed == len(passed)
    assert keys_of(chosen.listed()) == passed
    assert chosen.unknown == {parse_filter(text).field: n_unknown}


def test_unknowns_are_of_what_all_other_conditions_meet(index):
    asked = conditions(
        "modality=MR",
        "ageYears>=60",
        with_unknown=frozenset({"plane"}),
        scopes=frozenset({"north"}),
    )
    asked = Conditions(
        filters=(*asked.filters, parse_filter("plane=axial")),
        with_unknown=asked.with_unknown,
        scopes=asked.scopes,
    )

    def met(key, also=()):
        def ok(field, meets):
            value = known(key, field)
            return field in ("plane", *also) if value is None else meets(value)

        return (
            SERIES[key].record.get("scope") == "north"
            and ok("modality", lambda v: v.lower() == "mr")
            and ok("ageYears", lambda v: v >= 60)
            and ok("plane", lambda v: v == "axial")
        )

    chosen = index.select(asked)
    expected = [key for key in KEYS if met(key)]
    assert keys_of(chosen.listed()) == expected
    assert chosen.unknown == {
        field: sum(met(key, (field,)) for key in KEYS) - len(expected)
        for field in ("modality", "ageYears", "plane")
    }


QUESTION = Conditions(
    filters=(parse_filter("scope!=south"),),
    alternatives=(
        tuple(map(parse_filter, ("modality=MR", "plane=axial", "ageYears>=60"))),
        tuple(map(parse_filter, ("modality=CT", "hasPixels!=false"))),
    ),
)


def doubt_of(key):
    """Doubt that a series fits the question, and whether it is known to miss any of it."""
    scope = known(key, "scope")
    if scope is None or scope == RESTRICTED:
        return None
    modality, plane, age, pixels = (
        known(key, field) for field in ("modality", "plane", "ageYears", "hasPixels")
    )

    def cost(value, is_met):
        return 0.5 if value is None else 0.0 if is_met(value) else 1.0

    found = []
    if age is None or age >= 60:
        parts = [cost(modality, lambda v: v.lower() == "mr"), cost(plane, lambda v: v == "axial")]
        found.append((sum(parts) + (0.5 if age is None else 0.0), 1.0 in parts))
    if pixels is not False:
        parts = [cost(modality, lambda v: v == "CT"), 0.5 if pixels is None else 0.0]
        found.append((sum(parts), 1.0 in parts))
    return min(found, key=lambda each: each[0]) if found else None


def test_degrees_go_from_what_fits_to_the_greatest_doubt(index):
    expected = defaultdict(list)
    doubts = {key: doubt_of(key) for key in KEYS}
    for key, found in doubts.items():
        if found is not None:
            expected[found[0]].append(key)
    fitted = index.fitting(QUESTION)
    told = {
        doubt: (chosen.n_passed, keys_of(chosen.listed())) for doubt, chosen in fitted.degrees()
    }
    assert list(told) == sorted(expected)
    assert told == {doubt: (len(keys), keys) for doubt, keys in expected.items()}
    assert fitted.n_possible == sum(
        found is not None and found[0] > 0 and not found[1] for found in doubts.values()
    )
    assert keys_of(fitted.fits.listed()) == expected[0.0]


def test_a_verdict_says_what_a_series_meets(index):
    fitted = index.fitting(QUESTION)
    seen = Counter()
    for doubt, chosen in fitted.degrees():
        for hit in chosen.by_words("the", QUERY, 200, exact=True):
            verdict = fitted.verdict(hit)
            seen[verdict.match] += 1
            assert len(verdict.unknown) / 2 + len(verdict.unmet) == doubt
            for condition in verdict.unknown:
                assert known(hit.key, condition.field) is None
            assert (verdict.match is Match.NEAR) == doubt_of(hit.key)[1]
    assert set(seen) == {Match.FITS, Match.POSSIBLE, Match.NEAR}


def test_where_nothing_is_asked_everything_fits(index):
    fitted = index.fitting(ANYTHING)
    assert [(doubt, chosen.n_passed) for doubt, chosen in fitted.degrees()] == [(0.0, len(KEYS))]
    assert (fitted.n_possible, fitted.fits.unknown) == (0, {})
    assert fitted.verdict(next(fitted.fits.listed())).match is Match.FITS


def test_pictures_are_found_by_pictures(index):
    chosen = index.select(conditions("scope!=south"))
    open_to = [key for key in KEYS if known(key, "scope") not in (None, RESTRICTED)]
    scores = nearest(open_to, PICTURE, "images")
    hits = chosen.by_images(PICTURE, 9, exact=True)
    assert keys_of(hits) == by_score(scores)[:9]
    assert {hit.text for hit in hits} == {None}
    pictured = chosen.with_images()
    assert keys_of(pictured.listed()) == sorted(scores)
    assert (pictured.n_passed, pictured.unknown) == (len(scores), chosen.unknown)


def test_look_alikes_are_near_any_of_the_vectors_and_not_the_series_itself(index):
    vectors = np.stack([PICTURE, unit_vectors("other", 1, IMAGE_DIMENSION)[0]])
    near = [nearest(KEYS, vector, "images") for vector in vectors]
    scores = {key: max(each[key] for each in near) for key in near[0]}
    left_out = by_score(scores)[:3]
    chosen = index.select(ANYTHING).without(left_out)
    assert chosen.n_passed == len(KEYS) - 3
    assert keys_of(chosen.like(vectors, 8, exact=True)) == by_score(scores)[3:11]


@pytest.mark.parametrize("sort", [Sort(field="ageYears"), Sort(field="model", is_descending=True)])
def test_lists_are_in_the_order_of_a_field_page_after_page(index, sort):
    def rank(key):
        value = known(key, sort.field)
        return value.lower() if isinstance(value, str) else value

    told = sorted(key for key in KEYS if rank(key) is not None)
    expected = sorted(told, key=rank, reverse=sort.is_descending)
    expected += [key for key in KEYS if rank(key) is None]
    chosen, found = index.select(ANYTHING), []
    while len(found) < len(KEYS):
        after = found[-1] if found else None
        found += keys_of(chosen.in_order(sort, 40, after=after))
    assert found == expected


@pytest.mark.parametrize("level", [Level.STUDY, Level.PATIENT])
def test_groups_are_of_one_scope_and_know_their_members(index, level):
    field = {Level.STUDY: "studyInstanceUid", Level.PATIENT: "patientKey"}[level]
    asked = conditions("hasPixels=true")
    open_to = [key for key in KEYS if known(key, "hasPixels") is True]
    expected = {}
    for key in by_score(nearest(open_to, QUERY)):
        name = known(key, field)
        group = key if name is None else (SERIES[key].record["scope"], name)
        expected.setdefault(group, []).append(key)
    chosen = index.select(asked)
    assert chosen.n_groups(level) == len(expected)
    ranking = grouped(lambda n: chosen.by_words("the", QUERY, n, exact=True), level)
    groups, cursor = [], None
    while not groups or cursor is not None:
        page = page_of(ranking, index.state.number, 3, cursor)
        groups, cursor = [*groups, *page.items], page.after
    assert [group.key for group in groups] == [keys[0] for keys in expected.values()]
    members = chosen.members(groups, level)
    assert [[each.series_key for each in group] for group in members] == [
        sorted(keys) for keys in expected.values()
    ]
    assert members[0][0].series_instance_uid == f"1.2.{members[0][0].series_key}"


def test_series_are_groups_of_one(index):
    chosen = index.select(conditions("modality=US"))
    found = grouped(lambda n: chosen.by_words("the", QUERY, n, exact=True), Level.SERIES)(5)
    assert chosen.n_groups(Level.SERIES) == chosen.n_passed
    members = chosen.members(found, Level.SERIES)
    assert [[one.series_key for one in each] for each in members] == [[each.key] for each in found]


def counted(keys, field):
    """By value as filters compare it: how many series have it; and how many have none."""
    counts, n_unknown = Counter(), 0
    for key in keys:
        value = known(key, field)
        if value is None:
            n_unknown += 1
        else:
            counts.update(
                {v.lower() for v in value} if isinstance(value, list) else [_named(value)]
            )
    return dict(counts), n_unknown


def _named(value):
    return str(value).lower() if not isinstance(value, str) else value.lower()


def told(facet):
    return {value.value.lower(): value.count for value in facet.values}, facet.unknown


FACETS = ("modality", "plane", "bodyPart", "hasPixels", "sequence", "flags")


def test_facets_count_what_the_chosen_series_consist_of(index):
    asked = conditions("modality=MR,CT", "plane!=axial")
    open_to = [
        key
        for key in KEYS
        if (known(key, "modality") or "").lower() in ("mr", "ct")
        and known(key, "plane") not in (None, "axial")
    ]
    facets = index.facets(
        asked, FACETS, exclude_own=False, most=20, least=0, chosen=index.select(asked)
    )
    assert [facet.field for facet in facets] == list(FACETS)
    for facet in facets:
        assert told(facet) == counted(open_to, facet.field), facet.field
    assert facets[0].values[0].value in ("MR", "mr", "CT")


def test_a_facet_can_be_counted_as_if_its_own_filter_were_not_set(index):
    asked = conditions("modality=MR", "flags=sliceGap")
    gaps = [key for key in KEYS if "sliceGap" in known(key, "flags")]
    of_mr = [key for key in KEYS if (known(key, "modality") or "").lower() == "mr"]
    modality, flags, plane = index.facets(
        asked,
        ("modality", "flags", "plane"),
        exclude_own=True,
        most=20,
        least=0,
        chosen=index.select(asked),
    )
    assert told(modality) == counted(gaps, "modality")
    assert told(flags) == counted(of_mr, "flags")
    assert told(plane) == counted([key for key in gaps if key in of_mr], "plane")


def test_facets_have_bands_an_end_and_small_cells(index):
    years, ages, models = index.facets(
        ANYTHING,
        ("studyDate", "ageYears", "model"),
        exclude_own=False,
        most=1,
        least=0,
        chosen=index.select(ANYTHING),
    )
    dates = Counter(known(key, "studyDate")[:4] for key in KEYS if known(key, "studyDate"))
    assert [(each.value, each.count) for each in years.values] == [dates.most_common(1)[0]]
    assert years.other == dates.total() - dates.most_common(1)[0][1]
    bands = Counter(int(known(key, "ageYears")) // 10 for key in KEYS if known(key, "ageYears"))
    assert ages.values[0].count == bands.most_common(1)[0][1]
    assert ages.unknown == sum(known(key, "ageYears") is None for key in KEYS)
    [small] = index.facets(
        ANYTHING, ("sex",), exclude_own=False, most=20, least=1000, chosen=index.select(ANYTHING)
    )
    assert small.is_withheld
    assert models.values[0].count == counted(KEYS, "model")[0][models.values[0].value.lower()]


def test_pages_tell_every_series_once_in_the_order_of_the_whole(index):
    chosen = index.select(ANYTHING)

    def ranking(n):
        return chosen.by_words("twin brain", QUERY, n, exact=True)

    found, cursor = [], None
    while not found or cursor is not None:
        page = page_of(ranking, index.state.number, 25, cursor)
        found, cursor = [*found, *page.items], page.after
    assert keys_of(found) == keys_of(ranking(500))
    assert sorted(keys_of(found)) == KEYS


def test_series_can_be_named_one_by_one(index):
    names = Names.of([KEYS[3], f"1.2.{KEYS[5]}", KEYS[7][:16], "twin003", "no such"])
    chosen = index.select(Conditions(series=names))
    assert keys_of(chosen.listed()) == [KEYS[3], KEYS[5], KEYS[7], "twin003"]


def test_other_scopes_are_as_if_they_were_not_there(index):
    seen = index.select(Conditions(scopes=frozenset({"north"})))
    expected = [key for key in KEYS if SERIES[key].record.get("scope") == "north"]
    assert (seen.n_passed, keys_of(seen.listed())) == (len(expected), expected)
    hits = seen.by_words("the", QUERY, 500, exact=True)
    assert sorted(keys_of(hits)) == expected
    assert index.select(Conditions(scopes=frozenset())).n_passed == 0


def test_a_series_is_known_by_its_pictures(index):
    key = next(key for key in KEYS if SERIES[key].n_images == 2)
    for name in (key, f"1.2.{key}", key[:16]):
        pictured = index.pictured(name, None)
        assert pictured.keys == (key,)
        np.testing.assert_array_equal(pictured.vectors, SERIES[key].images)


def test_what_has_no_picture_is_not_there_or_may_not_be_seen_is_told_apart(index):
    blind = next(key for key in KEYS if not SERIES[key].n_images)
    with pytest.raises(InvalidInputError, match="no image to be compared"):
        index.pictured(blind, None)
    for name, scopes in (("1.2.9", None), (blind, frozenset({"elsewhere"}))):
        with pytest.raises(NotFoundError, match="no indexed series"):
            index.pictured(name, scopes)


def test_a_record_has_its_place_and_what_the_map_says(index):
    hits = index.select(ANYTHING).by_words("the", QUERY, 500, exact=True)
    assert len(hits) == len(KEYS)
    for hit in hits:
        made, record = SERIES[hit.key], index.record(hit)
        assert record["seriesKey"] == hit.key
        assert record["texts"] == [f"{made.look} {number}" for number in range(5)]
        assert {name: record[name] for name in made.record if name != "flags"} == {
            name: value for name, value in made.record.items() if name != "flags"
        }
        assert record["flags"] == sorted(known(hit.key, "flags"))
        if made.n_images:
            place = PROJECTOR.project(made.images)[0].tolist()
            assert [record["x"], record["y"], record["projectionVersion"]] == [
                *place,
                PROJECTION.version,
            ]
        else:
            assert record["x"] is record["y"] is record["projectionVersion"] is None


def test_a_question_of_another_encoder_is_refused(index):
    with pytest.raises(InvalidInputError, match="5 dimensions, the index 8"):
        index.select(ANYTHING).by_words("the", np.ones(5, np.float32), 3, exact=True)


def test_nothing_is_found_where_nothing_is_wanted(index):
    assert index.select(ANYTHING).by_images(PICTURE, 0, exact=True) == []
    nobody = index.select(conditions("modality=XX"))
    assert (nobody.n_passed, list(nobody.listed())) == (0, [])
    assert nobody.by_words("the", QUERY, 5, exact=True) == []
    assert nobody.n_groups(Level.STUDY) == 0
    [facet] = index.facets(
        conditions("modality=XX"), ("plane",), exclude_own=False, most=5, least=0, chosen=nobody
    )
    assert (facet.values, facet.unknown) == ((), 0)
