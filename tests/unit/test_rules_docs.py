"""The example of docs/rules.md does what the page says."""

import re
from pathlib import Path

from indexer_core.facts import SeriesFacts
from indexer_core.rules import classify, load_rules
from indexer_core.templates import FIELDS, load_templates, render_templates

PAGE = Path(__file__).parents[2] / "docs" / "rules.md"


def files_of_the_page(folder: Path) -> dict[str, Path]:
    """Write each yaml block that begins with its file name."""
    found = {}
    for block in re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        name = block.splitlines()[0].removeprefix("# ")
        found[name] = folder / name
        found[name].write_text(block, encoding="utf-8")
    return found


def series(modality: str, text: str) -> SeriesFacts:
    return SeriesFacts(
        scope="s",
        series_instance_uid="1.2",
        study_instance_uid="1.1",
        instances=1,
        frames=1,
        has_pixels=True,
        attributes={"Modality": ((modality, 1),), "SeriesDescription": ((text, 1),)},
    )


def test_example_files_change_classification_and_texts(tmp_path: Path) -> None:
    files = files_of_the_page(tmp_path)
    rules = load_rules([files["my-rules.yaml"]])
    templates = load_templates([files["my-templates.yaml"]])
    knee = series("CR", "Gonarthrose seitl.")
    said = classify(knee, rules)
    assert said.body_region == "lower extremity"
    assert render_templates(knee, said, templates)[1] == "X-ray of the knee."
    assert classify(series("CT", "Protocol 77"), rules).body_region == "whole body"
    assert classify(series("MR", "T2 qTSE"), rules).sequence == ("T2", "QTSE")


def test_page_names_every_field() -> None:
    listed = set(re.findall(r"`([a-z_]+)`", PAGE.read_text(encoding="utf-8")))
    assert set(FIELDS) <= listed
