"""Whether the worker gets on, and who is told: a pulse, an address, a program that asks it."""

import socket
import struct
import subprocess
import sys
from http.client import HTTPConnection

import pytest

from gpu_worker.health import (
    PATH,
    PORT,
    HealthSettings,
    Pulse,
    _Server,
    answering,
    problem,
    served,
)
from gpu_worker.loop import run
from gpu_worker.timing import Timings, stage
from gpu_worker.visibility import HeldMessages, Shift
from gpu_worker.wiring import STALL, read_program_settings
from indexer_core.adapters.azure.settings import PATIENT_KEY, SOURCES, STORAGE_NAME
from indexer_core.errors import InvalidInputError
from tests.support.pipeline import VISIBILITY_S, Pipeline, slice_of
from tests.support.ports import quiet_ports

LEAST = {
    STORAGE_NAME: "abc",
    SOURCES: '[{"scope": "a", "account": "abc", "container": "dicom"}]',
    PATIENT_KEY: "MDEyMzQ1Njc4OWFiY2RlZg==",
}


class Time:
    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


class CountingPulse(Pulse):
    def __init__(self):
        super().__init__()
        self.n_beats = 0

    def beat(self):
        self.n_beats += 1
        super().beat()


def status(port, path=PATH):
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def test_a_pulse_ages_until_it_beats():
    time = Time()
    pulse = Pulse(time)
    assert pulse.age_s == 0
    time.now_s += 30
    assert pulse.age_s == 30
    pulse.beat()
    assert pulse.age_s == 0


def test_every_stage_that_ends_beats_even_one_that_fails():
    pulse = CountingPulse()
    timings = Timings(beat=pulse.beat)
    with timings.running():
        with stage("fetch"):
            assert pulse.n_beats == 0
        with pytest.raises(ValueError, match="bad"), stage("decode"):
            raise ValueError("bad")
    assert pulse.n_beats == 2


def test_each_series_of_a_batch_beats_and_so_does_each_look_into_an_empty_queue():
    pipeline = Pipeline()
    for name in ("one", "two"):
        pipeline.upload(f"{name}.dcm", slice_of(series=name))
    process = pipeline.process()
    process.events()
    pipeline.clock.advance(700.0)
    process.checks()
    pulse = CountingPulse()
    run(process.worker(pulse=pulse), until_idle=True)
    assert not pipeline.queues["ready"].length()
    by_batch = pulse.n_beats
    assert by_batch > 2 * len(("fetch", "decode", "see"))
    run(process.worker(pulse=pulse), until_idle=True)
    assert pulse.n_beats > by_batch


def test_hiding_messages_from_others_is_no_work():
    pipeline = Pipeline()
    queue = pipeline.queues["ready"]
    queue.send("message")
    pulse = CountingPulse()
    with Shift().hold(queue, VISIBILITY_S) as held:
        assert isinstance(held, HeldMessages)
        held.receive(1, VISIBILITY_S)
        held.renew()
    assert pulse.n_beats == 0


def test_it_answers_by_the_age_of_the_pulse():
    time = Time()
    pulse = Pulse(time)
    with served(0, lambda: pulse.age_s <= 60) as port:
        assert status(port) == (200, b'{"status": "ok"}\n')
        time.now_s += 60
        assert status(port)[0] == 200
        time.now_s += 1
        assert status(port) == (503, b'{"status": "stalled"}\n')
        pulse.beat()
        assert status(port)[0] == 200
        assert status(port, "/")[0] == 404


def test_nobody_listens_without_a_port():
    with answering(Pulse(), HealthSettings()) as port:
        assert port == 0


def test_a_port_that_is_taken_is_told_by_the_name_of_its_setting():
    with socket.socket() as other:
        other.bind(("0.0.0.0", 0))
        other.listen()
        settings = HealthSettings(port=other.getsockname()[1])
        with pytest.raises(InvalidInputError, match=PORT), answering(Pulse(), settings):
            pass


def test_the_program_that_asks_tells_well_from_hung_from_gone():
    wells = [True, False]
    with served(0, lambda: wells.pop(0)) as port:
        assert problem({PORT: str(port)}) is None
        assert "too long" in str(problem({PORT: str(port)}))
    (nowhere,) = quiet_ports(1)
    assert "does not answer" in str(problem({PORT: str(nowhere)}))


@pytest.mark.parametrize("environment", [{}, {PORT: ""}, {PORT: "0"}])
def test_a_worker_that_answers_nowhere_is_not_ill_by_that(environment):
    assert problem(environment) is None


def test_who_goes_before_the_answer_leaves_no_line(capfd):
    with _Server(0, lambda: True) as server:
        client = socket.create_connection(("127.0.0.1", server.server_address[1]))
        client.sendall(b"GET /he")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()  # by a reset
        server.process_request_thread(*server.get_request())
    assert capfd.readouterr() == ("", "")


def test_as_a_program_it_says_so_by_its_exit_status_past_any_proxy():
    proxies = {"http_proxy": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1"}
    command = [sys.executable, "-m", "gpu_worker.health"]
    wells = [True, False]
    with served(0, lambda: wells.pop(0)) as port:
        runs = [
            subprocess.run(
                command, env={**proxies, PORT: str(port)}, capture_output=True, check=False
            )
            for _ in range(2)
        ]
    assert [done.returncode for done in runs] == [0, 1]
    assert runs[0].stderr == b""
    assert runs[1].stderr.count(b"\n") == 1


def test_settings_of_health_are_read():
    assert read_program_settings(LEAST).health == HealthSettings(port=0, stall_s=900)
    found = read_program_settings({**LEAST, PORT: "8080", STALL: "60"}).health
    assert found == HealthSettings(port=8080, stall_s=60)


@pytest.mark.parametrize("value", ["x", "-1", "70000", "80.5", "8080.0", "8e3", "8_080", "²"])
def test_what_is_no_port_is_refused_by_its_name(value):
    with pytest.raises(InvalidInputError, match=PORT):
        read_program_settings({**LEAST, PORT: value})
    assert PORT in str(problem({PORT: value}))
