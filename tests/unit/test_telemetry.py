"""Names, ids and settings of telemetry."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_worker.wiring import read_program_settings
from indexer_core.adapters.azure.settings import PATIENT_KEY, SOURCES, STORAGE_NAME
from indexer_core.adapters.telemetry import telemetry_of
from indexer_core.errors import InvalidInputError
from indexer_core.telemetry import (
    METRICS,
    OTHER,
    SILENT,
    SPANS,
    Kind,
    harmless,
    sender_of_check,
    sender_of_ready,
    span_id,
    trace_id,
)
from indexer_core.telemetry_settings import (
    CONNECTION,
    IDENTITY,
    OTLP,
    SHARE,
    TelemetrySettings,
    read_hourly_price,
    read_telemetry,
    telemetry_if_usable,
)
from local_host.settings import read_settings as read_local_settings

TEXT = st.text(max_size=40)
LEAST = {
    STORAGE_NAME: "abc",
    SOURCES: '[{"scope": "a", "account": "abc", "container": "dicom"}]',
    PATIENT_KEY: "MDEyMzQ1Njc4OWFiY2RlZg==",
}


@given(TEXT)
def test_a_trace_has_an_id_that_the_standard_takes(series):
    found = trace_id(series)
    assert len(found) == 32
    assert int(found, 16) > 0
    assert found == trace_id(series)


@given(st.lists(st.tuples(TEXT, TEXT), min_size=2, max_size=6, unique=True))
def test_different_messages_are_of_different_spans(pairs):
    assert len({sender_of_check(*pair) for pair in pairs}) == len(pairs)
    assert len({sender_of_ready(series, 1, digest) for series, digest in pairs}) == len(pairs)
    assert len({span_id("check", *pair) for pair in pairs} & {span_id("x", *pairs[0])}) == 0


def test_ids_stay_what_they_are():
    """Programs of two versions that work on one series must agree on them."""
    assert trace_id("a" * 64) == TRACE
    assert sender_of_check("a" * 64, "token") == CHECK
    assert sender_of_ready("a" * 64, 3, "b" * 64) == READY


TRACE = "42f6042455947cfe5b7188094975f5a8"
CHECK = "01ad05f9bd0cf5c7"
READY = "127ae7fd5f671fd2"

LEAKS = st.one_of(
    st.just("1.2.840.113619.2.1"),
    st.just("https://account.blob.core.windows.net/dicom/Doe^John.dcm"),
    st.just("Doe^John"),
    st.just("brain of a patient"),
    st.from_regex(r"[0-9.]{1,64}", fullmatch=True),
    st.text(min_size=41),
)


@given(LEAKS, st.integers())
def test_what_is_no_word_of_ours_is_not_told(text, number):
    told = harmless({"outcome": text, "revision": number, "patient": "Doe"}, SPANS["series"])
    assert told == {"outcome": OTHER, "revision": number}


def test_words_of_ours_are_told():
    for word in ("changed", "notDicom", "blob-events-poison", "cuda", "PixelError"):
        assert harmless({"a": word}, ("a",)) == {"a": word}


def test_names_are_declared_once_and_completely():
    for name, metric in METRICS.items():
        assert name == metric.name
        assert name.startswith("dicom_indexer.")
        assert bool(metric.buckets) == (metric.kind is Kind.HISTOGRAM)
        assert list(metric.buckets) == sorted(set(metric.buckets))


def test_nothing_is_sent_without_a_setting():
    settings = read_telemetry({})
    assert settings == TelemetrySettings()
    assert not settings.is_on
    assert telemetry_of(settings, "tests") is SILENT


def test_settings_are_read():
    settings = read_telemetry(
        {
            CONNECTION: "InstrumentationKey=x",
            IDENTITY: "ClientId=abc;Authorization=AAD",
            OTLP: "http://127.0.0.1:4318/",
            SHARE: "0.25",
        }
    )
    assert settings == TelemetrySettings(
        connection_string="InstrumentationKey=x",
        by_identity=True,
        client_id="abc",
        otlp_endpoint="http://127.0.0.1:4318",
        share=0.25,
    )
    assert read_telemetry({IDENTITY: "Authorization=AAD"}).client_id is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (IDENTITY, "ClientId=secret"),
        (IDENTITY, "Authorization=Basic;ClientId=secret"),
        (IDENTITY, "Authorization=AAD;Password=secret"),
        (OTLP, "collector:4317/secret"),
        (OTLP, "http://[secret"),
        (SHARE, "1.5"),
        (SHARE, "nan"),
        (SHARE, "secret"),
    ],
)
def test_settings_that_cannot_be_used_are_refused_by_name_and_not_repeated(name, value):
    with pytest.raises(InvalidInputError) as refused:
        read_telemetry({name: value})
    assert name in str(refused.value)
    assert "secret" not in str(refused.value)


def telemetry_of_the_worker(environment):
    return read_program_settings(environment).telemetry


@pytest.mark.parametrize("read", [telemetry_if_usable, telemetry_of_the_worker])
def test_programs_work_on_without_what_cannot_be_used_and_say_so_once(read, caplog):
    assert not read({**LEAST, CONNECTION: "InstrumentationKey=x", OTLP: "localhost:4317"}).is_on
    [record] = caplog.records
    assert record.getMessage() == (
        f"telemetry is not sent: {OTLP} is the http(s) address of a receiver"
    )


def test_the_command_line_does_not_ask_where_telemetry_is_sent(caplog):
    found = read_local_settings(None, {**LEAST, OTLP: "localhost:4317"}, "azure")
    assert found.azure is not None
    assert not caplog.records


@pytest.mark.parametrize("value", ["0", "-1", "inf", "nan", "much"])
def test_a_price_is_a_positive_number(value):
    with pytest.raises(InvalidInputError, match="PRICE is a positive number"):
        read_hourly_price({"PRICE": value}, "PRICE")
    assert read_hourly_price({"PRICE": "0.6"}, "PRICE") == 0.6
    assert read_hourly_price({"PRICE": ""}, "PRICE") is None


def test_a_connection_string_that_cannot_be_used_costs_one_line_and_no_work(caplog):
    settings = TelemetrySettings(connection_string="InstrumentationKey=secret-value")
    assert telemetry_of(settings, "tests") is SILENT
    [record] = caplog.records
    assert record.getMessage() == "telemetry cannot be sent error=ValueError"
    assert "secret-value" not in caplog.text


def test_programs_that_send_nothing_import_nothing_of_it():
    code = (
        "import sys, function_app.wiring, gpu_worker.wiring, local_host.cli\n"
        "from indexer_core.adapters.telemetry import telemetry_of\n"
        "from indexer_core.telemetry_settings import read_telemetry\n"
        "telemetry_of(read_telemetry({}), 'x')\n"
        "print(sorted(name for name in sys.modules if 'opentelemetry' in name"
        " and not name.startswith('indexer_core')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
