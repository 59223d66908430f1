"""What SOP classes say of an object: a directory, an image, frames described in groups."""

DIRECTORY = "1.2.840.10008.1.3.10"

_STORAGE = "1.2.840.10008.5.1.4.1.1."


def _classes(*ends: str) -> frozenset[str]:
    return frozenset(_STORAGE + end for end in ends)


# Beginnings of the classes (DICOM PS3.4 annex B.5) whose objects are not pictures, each followed
# by a dot so that 66 does not stand for 661. Segmentations (66.4), parametric maps (30) and RT
# dose (481.2) do hold pixel data: grids of labels and numbers, which an image encoder cannot read.
_WITHOUT_PICTURE = tuple(
    f"{_STORAGE}{end}."
    for end in (
        *("4.2", "8", "9", "10", "11", "30", "66", "67", "68", "78", "79", "80"),
        *("88", "90", "91", "104", "129", "131", "200", "201", "481"),
    )
)
_RT_IMAGES = _classes("481.1", "481.23", "481.24")
_MODALITIES_WITHOUT_PICTURE = frozenset(
    ("ANN", "ECG", "KO", "PR", "REG", "RTDOSE", "RTPLAN", "RTRECORD", "RTSTRUCT", "SEG", "SR")
)

# Geometry and timing of these lie in functional groups.
_FRAME_GROUPED = _classes(
    *("2.1", "2.2", "4.1", "4.3", "4.4", "6.2", "128.1", "130", "77.1.5.4"),
    *("12.1.1", "12.2.1", "13.1.1", "13.1.2", "13.1.3", "13.1.4", "13.1.5"),
)
# Multi-frame classes without them, or (slides, segmentations) where they say nothing wanted.
_NOT_FRAME_GROUPED = _classes("3", "3.1", "5", "12.1", "12.2", "20", "77.1.6", "66.4", "66.7")
_SEGMENTATIONS = _classes("66.4", "66.7")
_STRUCTURE_SETS = _classes("481.3")
# Ultrasound displays and pictures of a screen or paper carry text burned into the pixels.
_ULTRASOUND = _classes("3", "3.1", "6", "6.1")


def shows_picture(sop_class_uid: str, modality: str) -> bool:
    """Whether objects of this class are pictures, as far as class and modality tell."""
    if sop_class_uid.startswith(_STORAGE):
        return sop_class_uid in _RT_IMAGES or not f"{sop_class_uid}.".startswith(_WITHOUT_PICTURE)
    return modality not in _MODALITIES_WITHOUT_PICTURE


def frames_in_groups(sop_class_uid: str) -> bool | None:
    """Whether frames of this class are described in functional groups; None when unknown."""
    if sop_class_uid in _FRAME_GROUPED:
        return True
    return False if sop_class_uid in _NOT_FRAME_GROUPED else None


def is_report(sop_class_uid: str) -> bool:
    """Structured reports and key object selections: their title says what they are."""
    return sop_class_uid.startswith(f"{_STORAGE}88.")


def is_segmentation(sop_class_uid: str) -> bool:
    """Segmentations: their segment labels say what they are."""
    return sop_class_uid in _SEGMENTATIONS


def is_structure_set(sop_class_uid: str) -> bool:
    """RT structure sets: the names of their regions say what they are."""
    return sop_class_uid in _STRUCTURE_SETS


def may_show_text(sop_class_uid: str) -> bool:
    """Secondary captures and ultrasound, which usually have text burned in."""
    return sop_class_uid in _ULTRASOUND or f"{sop_class_uid}.".startswith(f"{_STORAGE}7.")
