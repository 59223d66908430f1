"""Facts of series that tests make up."""

from typing import Any

from indexer_core.facts import Finding, SeriesFacts


def series_facts(
    *findings: Finding, planes: dict[str, int] | None = None, **attributes: Any
) -> SeriesFacts:
    """One instance with pixels, every attribute with a single value."""
    return SeriesFacts(
        scope="s",
        series_instance_uid="1.2",
        study_instance_uid="1.1",
        instances=1,
        frames=1,
        has_pixels=True,
        attributes={keyword: ((value, 1),) for keyword, value in attributes.items()},
        planes=planes or {},
        findings=findings,
    )
