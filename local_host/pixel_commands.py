"""`reprocess --pixels`: the pixel model is asked about series that were indexed without it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from local_host.runner import Progress
    from local_host.wiring import LocalSystem


def ask_about_pixels(system: "LocalSystem", progress: "Progress") -> str:
    """Ask, and write what is found; in words what became of it.

    Raises
    ------
    InvalidInputError
        No pixel model is set.
    """
    from gpu_worker.asking_again import ask_again, unasked
    from gpu_worker.seeing_again import slices_by

    classifier, worker = system.needed_pixel_model.classifier, system.worker
    rows = unasked(system.indexer, classifier)
    n_unseen = 0
    slices_of = slices_by(worker, classifier.eye.recipe)
    for asked in ask_again(rows, system.indexer, classifier, slices_of, worker.threads):
        progress.advance("looking", asked.n_done, asked.n_total)
        n_unseen = asked.n_unseen
    unseen = f", {n_unseen} without pixels that can be read now" if n_unseen else ""
    return f"asked the pixel model about {len(rows) - n_unseen} series{unseen}"
