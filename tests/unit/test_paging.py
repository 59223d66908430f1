"""Pages of one answer: together they are the answer, whatever is committed between them."""

import base64
import json
from dataclasses import replace
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from function_app.api.messages import problem_response
from function_app.api.router import api_error
from indexer_core.errors import InvalidInputError, ManifestExpiredError
from indexer_core.filters import parse_filter
from indexer_core.index.reader import Reader
from indexer_core.index.updates import Restore, Suppress
from indexer_core.paging import Cursor, PastSnapshots, cursor_of, digest_of, page_of, token_of
from indexer_core.search import listing, search_text, search_words
from indexer_core.selection import Conditions, select
from tests.support.many_series import add_series, shelf_of
from tests.support.segments import TEXT_DIMENSION, unit_vectors
from tests.support.shelf import DAY_S

N = 24
KEYS = [f"s{number:03}" for number in range(N)]
QUERY = unit_vectors("q", 1, TEXT_DIMENSION)[0]
REQUEST = digest_of({"text": "q"})


def by_vector(snapshot, selection):
    return lambda n: search_text(snapshot, QUERY, selection, n)


def by_words(snapshot, selection):
    return lambda n: search_words(snapshot, "a q", QUERY, selection, n)


def listed(snapshot, selection):
    return lambda n: list(islice(listing(snapshot, selection), n))


def commits(shelf):
    """Things that happen to an index between two pages."""
    return {
        "add": lambda keys: add_series(shelf, {f"new-{key}": {} for key in keys}, revision=1),
        "replace": lambda keys: add_series(shelf, {key: {} for key in keys}, revision=3),
        "delete": lambda keys: add_series(
            shelf, {key: {} for key in keys}, revision=5, alive=False
        ),
        "suppress": lambda keys: shelf.commit(Suppress(series_keys=frozenset(keys))),
        "restore": lambda keys: shelf.commit(Restore(series_keys=frozenset(keys))),
    }


@settings(max_examples=60)
@given(
    ranking=st.sampled_from([by_vector, by_words, listed]),
    filters=st.sampled_from([(), ("modality=CT",)]),
    sizes=st.lists(st.integers(1, 7), min_size=N, max_size=N),
    events=st.lists(
        st.tuples(
            st.sampled_from(["add", "replace", "delete", "suppress", "restore", "nothing"]),
            st.sets(st.sampled_from(KEYS), min_size=1, max_size=4),
        ),
        min_size=N,
        max_size=N,
    ),
)
def test_pages_of_any_size_are_one_answer_with_commits_between_them(
    ranking, filters, sizes, events
):
    # Equal texts are many in an index: half of these differ in nothing but their key.
    shelf = shelf_of([{"modality": "CT" if n % 3 else "MR"} for n in range(N)], 3)
    conditions = Conditions(filters=tuple(map(parse_filter, filters)))
    reader = Reader(shelf.blobs, shelf.files)
    past = PastSnapshots(reader, keep=1)
    first = reader.refresh()
    whole = [hit.key for hit in ranking(first, select(first, conditions))(N)]

    told, cursor, suppressed = [], None, set()
    expected = []
    for size, (event, keys) in zip(sizes, events, strict=True):
        snapshot = reader.refresh() if cursor is None else past.at(cursor.manifest)
        page = page_of(
            ranking(snapshot, select(snapshot, conditions)), snapshot.manifest.number, size, cursor
        )
        told += [hit.key for hit in page.items]
        # What was erased before its page is left out of it; the rest is as it was.
        rest = whole[whole.index(expected[-1]) + 1 if expected else 0 :]
        expected += [key for key in rest if key not in suppressed][:size]
        assert told == expected
        if page.after is None:
            break
        cursor = cursor_of(token_of(page.after, REQUEST), REQUEST)
        assert cursor == page.after
        if event != "nothing":
            commits(shelf)[event](keys)
            suppressed = suppressed | keys if event == "suppress" else suppressed
            suppressed = suppressed - keys if event == "restore" else suppressed
            reader.refresh()
    behind = whole[whole.index(told[-1]) + 1 :] if told else whole
    assert page.after is None
    assert set(behind) <= suppressed


def test_a_series_restored_between_pages_ends_no_answer_early():
    shelf = shelf_of([{}] * 9)
    reader = Reader(shelf.blobs, shelf.files)
    first = reader.refresh()
    past = PastSnapshots(reader)
    page = page_of(listed(first, select(first)), first.manifest.number, 2, None)
    for event in ("suppress", "restore"):  # what the second page would have told
        commits(shelf)[event](["s002", "s003"])
        reader.refresh()
        snapshot = past.at(page.after.manifest)
        page = page_of(listed(snapshot, select(snapshot)), first.manifest.number, 2, page.after)
    assert [hit.key for hit in page.items] == ["s006", "s007"]
    assert page.after is not None


def test_fewer_hits_by_words_are_the_first_of_more(monkeypatch):
    monkeypatch.setattr("indexer_core.search.CANDIDATES", 9)
    shelf = shelf_of([{"texts": ["brain" if n % 4 else "knee"] * 5} for n in range(N)], 2)
    snapshot = Reader(shelf.blobs, shelf.files).refresh()
    selection = select(snapshot)
    every = search_words(snapshot, "brain", QUERY, selection, N)
    assert [-hit.score for hit in every] == sorted(-hit.score for hit in every)
    assert len({hit.key for hit in every}) == N
    for top in range(1, N):
        assert search_words(snapshot, "brain", QUERY, selection, top) == every[:top]


def test_a_page_of_an_expired_manifest_is_gone():
    shelf = shelf_of([{}] * 4)
    reader = Reader(shelf.blobs, shelf.files)
    number = reader.refresh().manifest.number
    for n in range(4):
        add_series(shelf, {f"later{n}": {}})
    shelf.clock.advance(10 * DAY_S)
    shelf.upkeep().collect()
    shelf.clock.advance(10 * DAY_S)
    shelf.upkeep().collect()
    reader.refresh()
    with pytest.raises(ManifestExpiredError) as expired:
        PastSnapshots(reader).at(number)
    response = problem_response(api_error(expired.value))
    assert response.status == 410
    assert json.loads(response.body)["code"] == "manifestExpired"


def test_snapshots_of_the_past_are_kept_until_more_is_suppressed():
    shelf = shelf_of([{}] * 4)
    reader = Reader(shelf.blobs, shelf.files)
    past = PastSnapshots(reader)
    first = reader.refresh()
    assert past.at(first.manifest.number) is first
    add_series(shelf, {"later": {}})
    reader.refresh()
    then = past.at(first.manifest.number)
    assert then.n_series == 4
    assert past.at(first.manifest.number) is then
    shelf.commit(Suppress(series_keys=frozenset({"s001"})))
    reader.refresh()
    assert past.at(first.manifest.number).n_series == 3


CURSOR = Cursor(manifest=7, n_before=20, score=0.1 + 0.2, key="ab" * 32)


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.floats(-1, 1), st.text(max_size=64))
def test_a_token_says_exactly_where_to_go_on(manifest, n_before, score, key):
    cursor = Cursor(manifest=manifest, n_before=n_before, score=score, key=key)
    token = token_of(cursor, REQUEST)
    assert cursor_of(token, REQUEST) == cursor
    assert token.replace("-", "").replace("_", "").isalnum()  # fits into any URL


def test_a_token_of_another_question_is_refused():
    with pytest.raises(InvalidInputError, match="another question"):
        cursor_of(token_of(CURSOR, REQUEST), digest_of({"text": "p"}))


@given(st.data())
def test_an_altered_token_is_refused(data):
    token = token_of(CURSOR, REQUEST)
    place = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(st.characters(codec="ascii"))
    altered = token[:place] + letter + token[place + 1 :]
    try:
        assert cursor_of(altered, REQUEST) == CURSOR  # the last letter has bits that say nothing
    except InvalidInputError:
        assert altered != token


@given(st.text(max_size=40) | st.binary(max_size=40).map(lambda b: base64.b64encode(b).decode()))
def test_what_is_no_token_is_refused(text):
    with pytest.raises(InvalidInputError):
        cursor_of(text, REQUEST)


@pytest.mark.parametrize(
    "said",
    [
        [2, 7, 20, 0.5, "k", REQUEST],
        [1, 7, 20, 0.5, "k"],
        [1, -7, 20, 0.5, "k", REQUEST],
        [1, 7, True, 0.5, "k", REQUEST],
        [1, 7, 20, float("nan"), "k", REQUEST],
        [1, 7, 20, "0.5", "k", REQUEST],
        [1, 7, 20, 0.5, 5, REQUEST],
        {"v": 1},
        [],
    ],
)
def test_a_forged_token_is_refused(said, monkeypatch):
    from indexer_core import paging

    body = json.dumps(said).encode()
    token = base64.urlsafe_b64encode(paging._check(body) + body).rstrip(b"=").decode()
    with pytest.raises(InvalidInputError):
        cursor_of(token, REQUEST)


def test_too_long_a_token_is_not_even_decoded():
    with pytest.raises(InvalidInputError):
        cursor_of(token_of(replace(CURSOR, key="k" * 2000), REQUEST), REQUEST)
