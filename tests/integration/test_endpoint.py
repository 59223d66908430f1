"""The endpoint of MedImageInsight: every shape of its answers, and everything that goes wrong."""

import inspect
import io
import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from threading import Barrier, Thread

import httpx
import numpy as np
import pytest
from PIL import Image

from gpu_worker.medimageinsight.client import EndpointSettings, checked_url
from gpu_worker.medimageinsight.credentials import Key, KeyFile, Token, tokens_of
from gpu_worker.medimageinsight.endpoint import EndpointEncoder
from gpu_worker.medimageinsight.png import png_bytes
from gpu_worker.medimageinsight.wire import PUBLISHED_SCALE, UnusableVectorError
from indexer_core.errors import InvalidInputError, UnavailableError
from indexer_core.pixels.recipe import PixelRecipe
from tests.support.fake_endpoint import (
    KEY,
    LOG_SCALE,
    SHAPES,
    Cut,
    FakeEndpoint,
    Garbled,
    NotNumbers,
    OneRowLess,
    Shorter,
    Slow,
    Status,
    fake_endpoint,
    rows_flat,
    vector_of,
)

SECRET = "s3cr3t-k3y-that-no-log-may-hold"


@pytest.fixture(scope="module")
def server():
    with fake_endpoint() as endpoint:
        yield endpoint, endpoint.url


@pytest.fixture
def endpoint(server):
    endpoint, url = server
    fresh = {name: value for name, value in vars(FakeEndpoint()).items() if name != "ended"}
    vars(endpoint).update(fresh, url=url)
    return endpoint


class Pauses(list[float]):
    """Keeps the pauses instead of making them."""

    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
def pauses():
    return Pauses()


@pytest.fixture
def encoder(endpoint, pauses):
    made = []

    def make(credential=None, **settings):
        chosen = EndpointSettings(url=endpoint.url, **settings)
        made.append(
            EndpointEncoder(
                chosen,
                credential or Key(KEY),
                sleep=pauses,
                jitter=lambda: 0.5,
            )
        )
        return made[-1]

    yield make
    for one in made:
        one.close()


def pictures(n: int) -> list[np.ndarray]:
    random = np.random.default_rng(3)
    return [random.random((9, 7), dtype=np.float32) for _ in range(n)]


def texts(n: int) -> list[str]:
    return [f"text {number}" for number in range(n)]


def expected(names) -> np.ndarray:
    return np.array([vector_of(name) for name in names], dtype=np.float32)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n", [1, 3])
def test_every_shape_of_answer_gives_the_same_vectors(endpoint, encoder, shape, n):
    images = encoder().encode_slices(pictures(n))
    endpoint.shape = shape
    one = encoder()
    np.testing.assert_allclose(one.encode_labels(texts(n)), expected(texts(n)), atol=1e-6)
    np.testing.assert_array_equal(one.encode_slices(pictures(n)), images)
    assert images.dtype == np.float32
    assert images.shape == (n, 1024)
    np.testing.assert_allclose(np.linalg.norm(images, axis=1), 1, atol=1e-6)


def test_the_scale_is_the_exponential_of_the_scaling_factor(endpoint, encoder):
    one = encoder()
    one.encode_labels(texts(1))
    assert one.scale == pytest.approx(91.5, abs=0.1)
    assert one.scale == pytest.approx(np.exp(LOG_SCALE))


def test_where_an_answer_has_no_scaling_factor_the_published_one_holds(endpoint, encoder, caplog):
    endpoint.shape = rows_flat
    one = encoder()
    one.check()
    assert one.scale == PUBLISHED_SCALE == pytest.approx(91.5, abs=0.1)
    assert "no scaling factor" in caplog.text
    assert all(request.params["get_scaling_factor"] for request in endpoint.requests)


@pytest.mark.parametrize("factor", [91.5, [91.5]])
def test_a_scaling_factor_that_is_no_logarithm_is_not_guessed_at(endpoint, encoder, factor):
    endpoint.shape = lambda rows: [{"text_features": rows[0][1], "scaling_factor": factor}]
    with pytest.raises(InvalidInputError, match="not a logarithm"):
        encoder().check()


def test_rows_are_asked_for_in_batches_of_which_few_are_under_way(endpoint, encoder):
    one = encoder(max_images=4, max_texts=3, concurrency=2)
    np.testing.assert_array_equal(
        one.encode_slices(pictures(10)),
        np.concatenate([one.encode_slices([picture]) for picture in pictures(10)]),
    )
    assert [request.n_rows for request in endpoint.requests[:3]].count(4) == 2
    del endpoint.requests[:]
    np.testing.assert_allclose(one.encode_labels(texts(7)), expected(texts(7)), atol=1e-6)
    assert sorted(request.n_rows for request in endpoint.requests) == [1, 3, 3]
    assert endpoint.most_at_once <= 2


def test_requests_are_under_way_at_the_same_time(endpoint, encoder):
    # No answer until three of them are there: one after the other would wait for ever.
    endpoint.together = Barrier(3, timeout=60)
    one = encoder(max_texts=2, concurrency=3)
    np.testing.assert_allclose(one.encode_labels(texts(12)), expected(texts(12)), atol=1e-6)
    assert endpoint.most_at_once == 3


def test_threads_share_an_encoder(endpoint, encoder):
    one = encoder(concurrency=2)
    found: dict[str, np.ndarray] = {}

    def ask(name: str) -> None:
        found[name] = one.encode_labels([name])[0]

    threads = [Thread(target=ask, args=(name,)) for name in texts(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_allclose([found[name] for name in texts(6)], expected(texts(6)), atol=1e-6)


def test_nothing_is_asked_for_nothing(endpoint, encoder):
    assert encoder().encode_slices([]).shape == (0, 1024)
    assert endpoint.requests == []


def test_pictures_arrive_as_they_are():
    image = np.linspace(-0.1, 1.1, 256 * 3, dtype=np.float32).reshape(3, 256)
    with Image.open(io.BytesIO(png_bytes(image))) as picture:
        assert (picture.format, picture.mode, picture.size) == ("PNG", "L", (256, 3))
        shown = np.asarray(picture)
    np.testing.assert_array_equal(shown, np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8))


# ---- what passes ---------------------------------------------------------------------------------
PASSING = [
    Status(code=503),
    Status(code=502),
    Status(code=504),
    Status(code=500),
    Status(code=408),
    Status(code=429),
    Status(code=424, headers={"ms-azureml-model-error-statuscode": "500"}),
    Status(code=424),
    Cut(),
    Garbled(),
    OneRowLess(),
]


@pytest.mark.parametrize("fault", PASSING, ids=str)
def test_what_passes_is_tried_again(endpoint, encoder, pauses, fault):
    endpoint.faults = [fault] * 3
    found = encoder().encode_labels(texts(2))
    np.testing.assert_allclose(found, expected(texts(2)), atol=1e-6)
    assert len(endpoint.requests) == 4
    assert pauses == [0.25, 0.5, 1.0]  # doubling, each drawn: here the middle of what is allowed


@pytest.mark.parametrize("fault", PASSING, ids=str)
def test_what_does_not_pass_in_time_comes_back_later(endpoint, encoder, fault):
    endpoint.faults = [fault] * 100
    with pytest.raises(UnavailableError, match="does not answer now"):
        encoder(max_tries=3).encode_labels(texts(2))
    assert len(endpoint.requests) == 3


def test_it_waits_as_long_as_it_is_asked_to(endpoint, encoder, pauses):
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=3600), usegmt=True)
    asked = ["7", "0", "-3", "soon", "nan", until]
    endpoint.faults = [Status(code=429, headers={"Retry-After": text}) for text in asked]
    encoder(patience_s=10_000.0).encode_labels(texts(1))
    assert pauses[:5] == [7, 0.5, 1, 2, 4]
    assert 3500 < pauses[5] <= 3600


def test_it_does_not_wait_for_longer_than_its_patience(endpoint, encoder, pauses):
    endpoint.faults = [Status(code=503, headers={"Retry-After": "120"})] * 5
    with pytest.raises(UnavailableError, match="503"):
        encoder(patience_s=300.0).encode_labels(texts(1))
    assert pauses == [120, 120]


def test_pauses_are_drawn_anew(endpoint):
    drawn = iter([0.1, 0.9, 0.4])
    pauses = Pauses()
    endpoint.faults = [Status(code=429)] * 3
    one = EndpointEncoder(
        EndpointSettings(url=endpoint.url, longest_pause_s=1.5),
        Key(KEY),
        sleep=pauses,
        jitter=lambda: next(drawn),
    )
    one.encode_labels(texts(1))
    one.close()
    np.testing.assert_allclose(pauses, [0.05, 0.9, 0.6])


def test_a_slow_endpoint_is_not_waited_for_forever(endpoint, encoder):
    endpoint.faults = [Slow()] * 2
    with pytest.raises(UnavailableError, match="ReadTimeout"):
        encoder(answer_s=0.2, max_tries=2).encode_slices(pictures(1))


def test_nobody_at_the_address_comes_back_later(encoder, endpoint):
    endpoint.url = "http://127.0.0.1:1/score"
    with pytest.raises(UnavailableError, match="ConnectError"):
        encoder(max_tries=2).encode_labels(texts(1))


def test_a_request_that_is_too_large_is_halved(endpoint, encoder, pauses):
    endpoint.most_rows = 2
    one = encoder(max_texts=7)
    np.testing.assert_allclose(one.encode_labels(texts(7)), expected(texts(7)), atol=1e-6)
    assert max(request.n_rows for request in endpoint.requests[1:]) == 4
    assert pauses == []
    endpoint.most_rows = 0
    with pytest.raises(InvalidInputError, match="413"):
        one.check()


# ---- what does not pass --------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (Status(code=401), "refuses the key"),
        (Status(code=403), "refuses the key"),
        (Status(code=404), "nothing at this address"),
        (Status(code=307, headers={"Location": "http://127.0.0.1:1/"}), "redirect"),
        (Status(code=400), "not MedImageInsight"),
        (Status(code=424, headers={"ms-azureml-model-error-statuscode": "400"}), "answers 400"),
        (Shorter(), "768 numbers, not 1024"),
    ],
    ids=str,
)
def test_wrong_settings_are_told_at_once_and_hold_no_series_to_blame(
    endpoint, encoder, pauses, fault, told
):
    endpoint.faults = [fault] * 4
    with pytest.raises(InvalidInputError, match=told) as caught:
        encoder().check()
    assert "\n" not in str(caught.value)
    assert pauses == []
    # While it works the same is a matter of time: the messages of the batch come back.
    endpoint.faults = [fault] * 4
    with pytest.raises(UnavailableError, match=told):
        encoder().encode_slices(pictures(2))


def test_an_endpoint_of_another_model_is_refused(endpoint, encoder):
    for answer in ([{"label": "cat"}], {"predictions": []}, [1, 2], 7, "seven"):
        endpoint.shape = lambda rows, answer=answer: answer
        with pytest.raises((InvalidInputError, UnavailableError)):
            encoder(max_tries=1).check()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, 1e400])
def test_a_vector_that_is_not_of_numbers_is_that_pictures_fault(endpoint, encoder, pauses, value):
    endpoint.faults = [NotNumbers(value)]
    with pytest.raises(UnusableVectorError, match="1 of 3"):
        encoder().encode_slices(pictures(3))
    assert pauses == []


def test_a_vector_without_length_or_left_out_is_unusable(endpoint, encoder):
    for cell in ([0.0] * 1024, [], None, ""):
        endpoint.shape = lambda rows, cell=cell: [{"text_features": cell}]
        with pytest.raises(UnusableVectorError):
            encoder().encode_labels(texts(1))


# ---- keys and tokens -----------------------------------------------------------------------------
def test_a_key_that_was_changed_is_read_anew(endpoint, encoder, tmp_path):
    file = tmp_path / "key"
    file.write_text("old-key\n")
    endpoint.keys = {"old-key"}
    one = encoder(KeyFile(file))
    one.encode_labels(texts(1))
    file.write_text("new-key")
    endpoint.keys = {"new-key"}
    one.encode_labels(texts(1))
    shown = [request.authorisation for request in endpoint.requests]
    assert shown == ["Bearer old-key", "Bearer old-key", "Bearer new-key"]


def test_a_key_file_that_goes_away_while_it_works_is_no_fault_of_a_series(
    endpoint, encoder, tmp_path
):
    file = tmp_path / "key"
    file.write_text("old-key")
    endpoint.keys = {"old-key"}
    one = encoder(KeyFile(file))
    one.check()
    file.unlink()
    one.encode_slices(pictures(1))  # it is still good
    endpoint.keys = {"new-key"}
    with pytest.raises(UnavailableError, match="cannot be read"):
        one.encode_slices(pictures(1))
    file.write_text("new-key")
    one.encode_slices(pictures(1))


def test_tokens_that_cannot_be_had_now_come_back_later(endpoint, encoder):
    def get(audience: str) -> str:
        raise UnavailableError("no token for the endpoint can be had now")

    with pytest.raises(UnavailableError, match="no token"):
        encoder(Token(get)).encode_labels(texts(1))


def test_a_token_is_asked_for_at_every_request_for_the_audience_of_azure_ml(endpoint, encoder):
    asked = []
    endpoint.keys = {"token-1", "token-2"}

    def get(audience: str) -> str:
        asked.append(audience)
        return f"token-{len(asked)}"

    one = encoder(Token(get))
    one.encode_labels(texts(1))
    one.encode_labels(texts(1))
    assert asked == ["https://ml.azure.com/.default"] * 2
    assert endpoint.requests[-1].authorisation == "Bearer token-2"


def test_the_deployment_is_named_where_one_is_chosen(endpoint, encoder):
    encoder(deployment="blue").encode_labels(texts(1))
    encoder().encode_labels(texts(1))
    assert [request.deployment for request in endpoint.requests] == ["blue", ""]


def test_every_trouble_of_an_identity_is_told_in_one_line():
    exceptions = pytest.importorskip("azure.core.exceptions")
    identity = pytest.importorskip("azure.identity")

    class Identity:
        def get_token(self, audience):
            raise self.error

    troubles = [
        exceptions.ClientAuthenticationError("many\nlines"),
        exceptions.ServiceRequestError("no network"),
        identity.CredentialUnavailableError("none"),
    ]
    for one in troubles:
        Identity.error = one
        with pytest.raises(UnavailableError, match="set the key") as caught:
            tokens_of(Identity())("audience")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["", "  ", "two words", "line\nHeader: x", "schlüssel"])
def test_what_is_no_key_is_refused_without_repeating_it(key, tmp_path):
    with pytest.raises(InvalidInputError) as caught:
        Key(key)
    assert key.strip() not in str(caught.value) or not key.strip()
    (tmp_path / "key").write_text(key)
    with pytest.raises(InvalidInputError):
        KeyFile(tmp_path / "key").secret(anew=False)


def test_a_key_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(InvalidInputError, match="cannot be read"):
        KeyFile(tmp_path / "none").secret(anew=False)


def test_no_log_and_no_error_holds_the_key(endpoint, encoder, caplog):
    caplog.set_level(logging.DEBUG)
    endpoint.faults = [Status(code=503), Cut(), Garbled(), Status(code=401), Status(code=401)]
    with pytest.raises(UnavailableError) as caught:
        encoder(Key(SECRET)).encode_slices(pictures(1))
    assert endpoint.requests[0].authorisation == f"Bearer {SECRET}"
    assert len(caplog.records) > 3
    assert SECRET not in caplog.text
    assert SECRET not in repr(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/score",
        "ftp://127.0.0.1/score",
        "https://user:pass@example.org/score",
        "example.org/score",
        "https://",
        "http://127.0.0.1.example.org/",
        "",
        "https://[::1",
    ],
)
def test_a_key_is_sent_nowhere_without_encryption(url):
    with pytest.raises(InvalidInputError) as caught:
        checked_url(url)
    assert "pass" not in str(caught.value).replace("passes", "")


@pytest.mark.parametrize(
    "url",
    [
        "https://e.example/score",
        "http://127.0.0.1:8/score",
        "http://localhost/score",
        "http://[::1]:5/score",
    ],
)
def test_https_and_this_machine_are_allowed(url):
    assert checked_url(url) == url


def test_every_error_of_the_http_library_is_one_that_we_know():
    kinds = [
        kind
        for _, kind in inspect.getmembers(httpx, inspect.isclass)
        if issubclass(kind, httpx.HTTPError) and kind is not httpx.HTTPError
    ]
    # HTTPStatusError comes of raise_for_status alone, which nobody calls.
    unknown = [k for k in kinds if not issubclass(k, httpx.RequestError | httpx.HTTPStatusError)]
    assert unknown == []


def test_the_id_names_version_pictures_and_recipe(endpoint):
    settings = EndpointSettings(url=endpoint.url)
    ids = {EndpointEncoder(settings, None, version=version).encoder_id for version in ("1", "2")}
    assert len(ids) == 2
    same = EndpointEncoder(replace(settings, deployment="x"), None)
    assert same.encoder_id in ids
    recipe = PixelRecipe(rows=480, columns=480)
    assert same.recipe == recipe
    assert same.encoder_id == f"medimageinsight/1/png8-v1-{recipe.recipe_id}"
