"""Draws what an image encoder sees: docs/images/what-the-encoder-sees.png and ct-windows.png.

Twelve public sample series as prepared for a model, and one slice through the four CT windows.

Run: ``python docs/encoder_picture.py FOLDER`` with the folder of sample files (default: as the
tests). The slices are drawn pixel for pixel; nothing is drawn over them. Series were chosen by
hand, so that no picture has a name in it.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from indexer_core.anatomy import Anatomy  # noqa: E402
from indexer_core.entries import Describer  # noqa: E402
from indexer_core.facts import InstanceFacts  # noqa: E402
from indexer_core.header import BytesSource, read_header  # noqa: E402
from indexer_core.pixels import (  # noqa: E402
    PixelRecipe,
    PixelSource,
    Stack,
    stack_of,
    stack_of_object,
)
from indexer_core.pixels.decode import decode_frame, open_pixels  # noqa: E402
from indexer_core.pixels.display import frame_header  # noqa: E402
from indexer_core.rules import load_rules  # noqa: E402
from indexer_core.series import aggregate  # noqa: E402
from indexer_core.templates import load_templates  # noqa: E402

IMAGES = Path(__file__).parent / "images"
TARGET = IMAGES / "what-the-encoder-sees.png"
WINDOWS_TARGET = IMAGES / "ct-windows.png"
DEFAULT_FOLDER = ROOT.parent / "shared" / "data" / "dicom"
DATA = "pydicom__pydicom-data/data_store/data"

# Title, and the files of the series as a pattern.
SERIES = (
    ("MR", "brain, sagittal", "FNNDSC__SAG-anon/*.dcm"),
    ("MR", "shoulder", f"{DATA}/MR2_J2KR.dcm"),
    ("MR", "prostate, diffusion", "suyashkumar__dicom/testdata/3.dcm"),
    ("CT", "head", "neurolabusc__dcm_qa_ct/In/GE/*.dcm"),
    ("CT", "abdomen", f"{DATA}/explicit_VR-UN.dcm"),
    ("CT", "localizer", "neurolabusc__dcm_qa_ct/In/Philips/S21570/S1000/I10"),
    ("CR", "chest", f"{DATA}/RG1_J2KI.dcm"),
    ("CR", "lower leg", f"{DATA}/RG3_J2KR.dcm"),
    ("DX", "chest of an animal", "ImagingDataCommons__highdicom/data/test_files/dx_image.dcm"),
    ("NM", "whole body", f"{DATA}/JPEG-LL.dcm"),
    ("PT", "breast", "suyashkumar__dicom/testdata/2.dcm"),
    ("US", "heart", "pydicom__pydicom/src/pydicom/data/test_files/examples_ybr_color.dcm"),
)
# One slice with brain, bone and air in it, by regions of which each has another window.
WINDOWED = ("neurolabusc__dcm_qa_ct/In/GE/*.dcm", 7)
WINDOWS = (("soft tissue", ""), ("lung", "chest"), ("bone", "spine"), ("brain", "head"))
COLOURS = {
    "MR": "#5ec8d8", "CT": "#f2b661", "CR": "#b7c4d6", "DX": "#b7c4d6", "NM": "#e58bb0",
    "PT": "#e58bb0", "US": "#8fd18a",
}  # fmt: skip
BACKGROUND, CARD, EDGE, TEXT, MUTED = "#10161d", "#18212b", "#2c3947", "#eef2f6", "#93a1b0"
COLUMNS, SIDE, STEP, PAD, CAPTION, GAP, HEAD = 4, 256, 9, 14, 62, 18, 84


@dataclass(frozen=True)
class Cell:
    """A series: its slices in [0, 1], and what is written below them."""

    modality: str
    title: str
    note: str
    slices: np.ndarray


def cells(folder: Path) -> list[Cell]:
    """The twelve series, prepared as the worker prepares them."""
    rules = load_rules()
    describer = Describer(rules=rules, templates=load_templates((), rules), image_encoder_id="")
    return [_cell(folder, *series, describer) for series in SERIES]


def windowed(folder: Path) -> list[Cell]:
    """One slice as it would be seen in each region."""
    pattern, number = WINDOWED
    data = sorted(folder.glob(pattern))[number].read_bytes()
    found = []
    for title, region in WINDOWS:
        recipe = PixelRecipe().for_anatomy(Anatomy(region=region))
        stack = stack_of_object(data, anatomy=Anatomy(region=region))
        assert isinstance(stack, Stack)
        found.append(Cell("CT", title, seen_through(data, recipe), stack.slices))
    return found


def _cell(folder: Path, modality: str, title: str, pattern: str, describer: Describer) -> Cell:
    found: list[tuple[bytes, InstanceFacts]] = []
    for path in sorted(folder.glob(pattern)):
        data = path.read_bytes()
        facts = read_header(BytesSource(data), b"no patient is named here")
        if isinstance(facts, InstanceFacts):
            found.append((data, facts))
    series = aggregate("samples", [(str(n), facts) for n, (_, facts) in enumerate(found)])
    anatomy = describer.anatomy(series)
    sources = [PixelSource(facts=facts, fetch=lambda data=data: data) for data, facts in found]
    stack = stack_of(sources, anatomy=anatomy)
    assert isinstance(stack, Stack), (title, stack)
    middle = found[len(found) // 2][0]
    note = seen_through(middle, PixelRecipe().for_anatomy(anatomy))
    return Cell(modality, title, note, stack.slices)


def seen_through(data: bytes, recipe: PixelRecipe) -> str:
    """In words, what is black and what is white."""
    source = open_pixels(data)
    header = frame_header(source.dataset, 0)
    if decode_frame(source, 0).colour_maximum:
        return "luminance of colour"
    if header.hounsfield:
        low = recipe.ct_center_hu - recipe.ct_width_hu / 2
        return f"{low:.0f} to {low + recipe.ct_width_hu:.0f} HU"
    if header.voi_table is not None or header.window is not None:
        return "as its header says" + (", inverted" if header.inverted else "")
    first = "no activity" if header.nuclear else f"{recipe.low_percentile:.0f}st"
    return f"{first} to {recipe.high_percentile:.0f}th percentile"


SUBTITLE = (
    "Twelve public sample series, as prepared: up to three slices of 256 x 256 grey values, "
    "the middle one in front. The aspect ratio is not kept."
)
WINDOWS_SUBTITLE = "The header rules say which region a series shows, and that says the window."


def sheet(
    found: list[Cell], title: str = "What the encoder sees", subtitle: str = SUBTITLE
) -> Image.Image:
    """The picture: cards in rows, the middle slice in front, the others behind it."""
    width, height = SIDE + 2 * STEP + 2 * PAD, SIDE + 2 * STEP + 2 * PAD + CAPTION
    n_rows = -(-len(found) // COLUMNS)
    size = (
        COLUMNS * width + (COLUMNS + 1) * GAP,
        HEAD + n_rows * height + n_rows * GAP,
    )
    image = Image.new("RGB", size, BACKGROUND)
    draw = ImageDraw.Draw(image)
    draw.text((GAP + 2, 20), title, fill=TEXT, font=ImageFont.load_default(26))
    draw.text((GAP + 2, 52), subtitle, fill=MUTED, font=ImageFont.load_default(15))
    for number, cell in enumerate(found):
        row, column = divmod(number, COLUMNS)
        corner = (GAP + column * (width + GAP), HEAD + row * (height + GAP))
        _draw_card(image, cell, corner, (width, height))
    return image


def _draw_card(
    image: Image.Image, cell: Cell, corner: tuple[int, int], size: tuple[int, int]
) -> None:
    draw = ImageDraw.Draw(image)
    left, top = corner
    box = (left, top, left + size[0] - 1, top + size[1] - 1)
    draw.rounded_rectangle(box, radius=10, fill=CARD, outline=EDGE)
    n = len(cell.slices)
    behind = [k for k in range(n) if k != n // 2]
    depth = len(behind)
    # A single slice sits in the middle of the room that three take.
    inset = (2 - depth) * STEP // 2
    for place, k in ((depth - i, k) for i, k in enumerate((*behind, n // 2))):
        at = (left + PAD + inset + place * STEP, top + PAD + 2 * STEP - inset - place * STEP)
        shade = 1.0 if place == 0 else 0.6
        picture = Image.fromarray((cell.slices[k] * 255 * shade).round().astype(np.uint8))
        image.paste(picture, at)
        frame = (at[0] - 1, at[1] - 1, at[0] + SIDE, at[1] + SIDE)
        draw.rectangle(frame, outline=EDGE)
    base = top + SIDE + 2 * STEP + 2 * PAD + 2
    bold, small = ImageFont.load_default(18), ImageFont.load_default(14)
    draw.text((left + PAD, base), cell.modality, fill=COLOURS[cell.modality], font=bold)
    start = left + PAD + draw.textlength(cell.modality, font=bold) + 9
    draw.text((start, base), cell.title, fill=TEXT, font=bold)
    draw.text((left + PAD, base + 27), cell.note, fill=MUTED, font=small)


def main() -> None:
    default = os.environ.get("DICOM_SAMPLES", str(DEFAULT_FOLDER))
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else default)
    sheet(cells(folder)).save(TARGET, optimize=True)
    windows = sheet(windowed(folder), "One slice through four windows", WINDOWS_SUBTITLE)
    windows.save(WINDOWS_TARGET, optimize=True)


if __name__ == "__main__":
    main()
