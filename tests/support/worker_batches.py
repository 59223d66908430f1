"""Workers over a pipeline in memory, and what can be seen of their batches."""

from gpu_worker.halving import Halving
from gpu_worker.loop import WorkerSettings
from indexer_core.uids import series_key
from tests.support.dicom import uid
from tests.support.pipeline import RETRY_S, VISIBILITY_S, slice_of

LONG_S = 60.0
N_OPENING = 2
"""Commits that open an index."""


def key_of(series):
    return series_key("inbox", uid("study"), uid("study", series))


def assemble(pipeline, *series, **attributes):
    for name in series:
        words = {"SeriesDescription": name, **attributes}
        pipeline.upload(f"{name}.dcm", slice_of(series=name, **words))
    process = pipeline.process()
    process.events()
    pipeline.clock.advance(700.0)
    process.checks()
    process.opened()


def worker_of(pipeline, plan=None, *, batch=2, ahead=1, together=1, **changes):
    limits = WorkerSettings(batch=batch, ahead=ahead, visibility_s=VISIBILITY_S, retry_s=RETRY_S)
    parts = {"settings": limits, "together": Halving(together), **changes}
    return pipeline.process(plan).worker(**parts)


def outcomes(report):
    return sorted(report.outcomes.values())


def waiting(pipeline):
    return [queued.message for queued in pipeline.queues["ready"]._queued.values()]


def n_in_hand(pipeline):
    queue = pipeline.queues["ready"]
    return sum(queued.visible_at_s > pipeline.clock.now_s() for queued in queue._queued.values())


def revisions(pipeline):
    return {key: row.revision for key, row in pipeline.live().items()}
