"""The picture of what an encoder sees is the one that the program makes today."""

import numpy as np
from PIL import Image

from docs.encoder_picture import TARGET, WINDOWS_SUBTITLE, WINDOWS_TARGET, cells, sheet, windowed


def is_drawn(target, image):
    """Letters may differ between versions of Pillow, pictures may not."""
    drawn = np.asarray(image, dtype=np.int16)
    with Image.open(target) as picture:
        kept = np.asarray(picture.convert("RGB"), dtype=np.int16)
    return kept.shape == drawn.shape and np.mean(np.abs(kept - drawn)) < 0.5


def test_the_picture_on_the_page_shows_what_is_prepared_today(samples):
    found = cells(samples)
    assert len(found) == 12
    assert len({cell.modality for cell in found}) >= 7
    notes = {f"{cell.modality} {cell.title}": cell.note for cell in found}
    assert notes["CT head"] == "0 to 80 HU"
    assert notes["CT abdomen"] == "-160 to 240 HU"
    assert is_drawn(TARGET, sheet(found))


def test_the_picture_of_the_windows_shows_four_that_differ(samples):
    found = windowed(samples)
    assert [cell.note for cell in found] == [
        "-160 to 240 HU", "-1350 to 150 HU", "-500 to 1300 HU", "0 to 80 HU",
    ]  # fmt: skip
    assert len({cell.slices.tobytes() for cell in found}) == 4
    assert is_drawn(
        WINDOWS_TARGET, sheet(found, "One slice through four windows", WINDOWS_SUBTITLE)
    )
