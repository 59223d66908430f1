"""Whatever happens to events and processes, the series handed on equal the blobs that are there."""

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from indexer_core.errors import IndexerError
from indexer_core.look import content_of
from indexer_core.messages import parse_check
from indexer_core.testing.faults import FaultPlan, SimulatedCrash, WriteFault
from indexer_core.uids import series_key
from tests.support.dicom import dicom_object, uid
from tests.support.house import House

NAMES = st.sampled_from(["a.dcm", "b.dcm", "c.dcm", "d.dcm"])
SERIES = st.sampled_from(["one", "two"])
FAULTS = st.sampled_from(
    [
        WriteFault.CRASH_BEFORE,
        WriteFault.CRASH_AFTER,
        WriteFault.LOST_RESPONSE,
        WriteFault.LOST_REQUEST,
        WriteFault.UNAVAILABLE,
    ]
)


class AssemblyMachine(RuleBasedStateMachine):
    """The model is a dict of live blobs: name -> (series, bytes)."""

    @initialize()
    def start(self):
        self.house = House()
        self.model: dict[str, tuple[str, bytes]] = {}
        self.events: list[str] = []  # undelivered, in no order

    @rule(name=NAMES, series=SERIES, value=st.integers(0, 3))
    def upload(self, name, series, value):
        data = dicom_object(series=series, instance=ord(name[0]), value=value)
        self.house.inbox.overwrite(name, data)
        self.model[name] = (series, data)
        self.events.append(name)

    @rule(name=NAMES)
    def upload_something_else(self, name):
        self.house.inbox.overwrite(name, b"not an image")
        self.model.pop(name, None)
        self.events.append(name)

    @rule(name=NAMES)
    def delete(self, name):
        self.house.inbox.delete(name)
        self.model.pop(name, None)
        self.events.append(name)

    @rule(name=NAMES)
    def duplicate(self, name):
        self.events.append(name)

    @precondition(lambda self: self.events)
    @rule(data=st.data())
    def deliver(self, data):
        name = self.events.pop(data.draw(st.integers(0, len(self.events) - 1)))
        self.house.program().look(self.house.url(name))

    @precondition(lambda self: self.events)
    @rule(data=st.data(), at=st.integers(1, 9), fault=FAULTS)
    def deliver_with_a_fault(self, data, at, fault):
        name = self.events.pop(data.draw(st.integers(0, len(self.events) - 1)))
        try:
            self.house.program(FaultPlan(at, fault)).look(self.house.url(name))
        except (SimulatedCrash, IndexerError):
            self.events.append(name)  # not acknowledged: it comes back

    @rule(seconds=st.sampled_from([1.0, 29.0, 31.0, 700.0]))
    def wait(self, seconds):
        self.house.clock.advance(seconds)

    @rule(at=st.integers(1, 9), fault=st.none() | FAULTS)
    def check_one(self, at, fault):
        for message in self.house.checks.receive(1, 60.0):
            plan = None if fault is None else FaultPlan(at, fault)
            try:
                self.house.program(plan).assembly.check(parse_check(message.body))
            except (SimulatedCrash, IndexerError):
                continue
            self.house.checks.delete(message)

    @rule()
    def sweep(self):
        self.house.program().assembly.sweep(older_than_s=300.0)

    @invariant()
    def one_revision_has_one_content(self):
        if not hasattr(self, "house"):
            return
        contents: dict[tuple[str, int], str] = {}
        for ready in self.house.handed.ready:
            known = contents.setdefault((ready.series, ready.revision), ready.digest)
            assert known == ready.digest

    def teardown(self):
        if not hasattr(self, "house"):
            return
        program = self.house.program()
        for name in self.events:
            program.look(self.house.url(name))
        self.house.settle(program)
        self.house.clock.advance(10_000.0)
        program.assembly.sweep(older_than_s=300.0)
        self.house.settle(program)
        found = {
            key: {instance.url for instance in assembled.instances}
            for key, assembled in self.house.newest().items()
        }
        expected: dict[str, set[str]] = {}
        for name, (series, _) in self.model.items():
            key = series_key("inbox", uid("study"), uid("study", series))
            expected.setdefault(key, set()).add(self.house.url(name))
        assert {key: urls for key, urls in found.items() if urls} == expected
        for assembled in self.house.newest().values():
            for instance in assembled.instances:
                name = instance.url.removeprefix(self.house.url(""))
                # Not the etag: the same bytes uploaded again need no new revision.
                assert instance.content == content_of(self.house.inbox.properties(name))
        assert list(program.assembly.open_keys()) == []


TestAssembly = AssemblyMachine.TestCase
TestAssembly.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
