"""Pixels of the public sample files."""

from collections import Counter

import numpy as np

from indexer_core.pixels import PixelsUnavailable, stack_of_object


def test_every_sample_gives_a_sound_stack_or_a_reason(samples):
    problems = Counter()
    n_sound = 0
    for path in sorted(samples.rglob("*")):
        if not path.is_file() or path.suffix in {".md", ".csv"}:
            continue
        result = stack_of_object(path.read_bytes())
        if isinstance(result, PixelsUnavailable):
            problems[result.problem.value] += 1
            continue
        n_sound += 1
        assert np.isfinite(result.slices).all()
        assert result.slices.min() >= 0
        assert result.slices.max() <= 1
    # Without the libjpeg plug-in of pylibjpeg a few of the JPEG variants have no decoder.
    assert n_sound >= 635
    assert problems["noPixels"] == 88
    assert problems["tooLarge"] == 1
