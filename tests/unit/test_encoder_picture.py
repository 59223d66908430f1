"""The picture of what an encoder sees is the one that the program makes today."""

import numpy as np
from PIL import Image

from docs.encoder_picture import TARGET, cells, sheet


def test_the_picture_on_the_page_shows_what_is_prepared_today(samples):
    found = cells(samples)
    assert len(found) == 12
    assert len({cell.modality for cell in found}) >= 7
    notes = {f"{cell.modality} {cell.title}": cell.note for cell in found}
    assert notes["CT head"] == "0 to 80 HU"
    assert notes["CT abdomen"] == "-160 to 240 HU"
    drawn = np.asarray(sheet(found), dtype=np.int16)
    with Image.open(TARGET) as picture:
        kept = np.asarray(picture.convert("RGB"), dtype=np.int16)
    assert kept.shape == drawn.shape
    # Letters may differ between versions of Pillow, pictures may not.
    assert np.mean(np.abs(kept - drawn)) < 0.5
