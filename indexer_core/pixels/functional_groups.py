"""Functional groups of enhanced objects (DICOM PS3.3 C.7.6.16)."""

from pydicom import Dataset


def group_items(dataset: Dataset, frame: int, group: str) -> tuple[Dataset, ...]:
    """The items of a functional group that apply to a frame, its own before the shared one."""
    per_frame = _item(dataset, "PerFrameFunctionalGroupsSequence", frame, group)
    shared = _item(dataset, "SharedFunctionalGroupsSequence", 0, group)
    return tuple(item for item in (per_frame, shared) if item is not None)


def _item(dataset: Dataset, keyword: str, index: int, group: str) -> Dataset | None:
    try:
        item: Dataset = dataset[keyword].value[index][group].value[0]
    except Exception:  # noqa: BLE001 - absent or damaged alike
        return None
    return item
