"""Made-up series whose texts go the real way: rules, templates, encoder.

The vocabulary imitates how departments write descriptions: a few habits per site, abbreviations,
numbers of slices, kernels, phases. Choices are skewed, as in an archive: the common examinations
are most of it, and there is always something that was never seen before.
"""

from collections.abc import Iterator

import numpy as np

from indexer_core.facts import SeriesFacts
from indexer_core.rules import classify, load_rules
from indexer_core.templates import load_templates, render_templates

_PARTS = {
    "MR": "brain,head,c-spine,l-spine,knee,shoulder,abdomen,liver,pelvis,prostate,heart,orbits,IAC,"
    "ankle,wrist,hip,breast,whole spine",
    "CT": "chest,abdomen,abd/pelvis,head,neck,sinus,c-spine,aorta,coronary,pelvis,temporal bones,"
    "lumbar spine,thorax,liver,kidneys,lung,hip",
    "DX": "chest,knee,hand,foot,pelvis,shoulder,ankle,wrist,abdomen",
    "US": "abdomen,thyroid,carotid,liver,kidney,breast,pelvis,leg veins",
    "PT": "whole body,skull base to thigh,brain",
    "MG": "breast",
    "XA": "coronary,cerebral,aorta,leg",
    "NM": "bone scan,thyroid,kidney,lung",
}
_MODALITIES = ("MR", "CT", "DX", "US", "PT", "MG", "XA", "NM")
_MODALITY_SHARES = (0.42, 0.30, 0.12, 0.06, 0.03, 0.03, 0.02, 0.02)
_SEQUENCES = (
    "T1,T2,FLAIR,DWI,ADC,SWI,PD FS,STIR,T2*,TOF,MPRAGE,T1 post,perfusion,DTI,BOLD,localizer,HASTE,"
    "VIBE,TRUFI"
)
_TECHNIQUES = "tse,se,fse,gre,space,blade,propeller,fs,dixon,3D,,"
_CT_KINDS = (
    "helical,axial,soft tissue,bone,lung,MPR,MIP,recon,scout,arterial,venous,delayed,portal venous,"
    "angio,low dose,HR"
)
_KERNELS = "B30f,B70f,Br40,H31s,STANDARD,BONE,LUNG,FC08,FC52,B"
_PLANES = "ax,axial,tra,sag,sagittal,cor,coronal,obl,"
_CONTRAST = ("w contrast", "wo contrast", "w/o", "+C", "post gad", "w/wo", "non con", "", "", "")
_VIEWS = "PA,AP,LAT,LL,oblique,standing,CC,MLO,"
_MAKERS = "SIEMENS,GE MEDICAL SYSTEMS,Philips Medical Systems,TOSHIBA,Canon,Hitachi"
_STUDIES = (
    "{modality} {part},{modality} {part} {contrast},{part} routine,{part},{part} trauma,"
    "{part} follow up,{part} staging,{modality}^{part}"
)
_NOTES = ("repeat", "iso", "thin", "motion", "REFORMAT", "SUB", "v2")
_PLANE_NAMES = {"a": "axial", "t": "axial", "s": "sagittal", "c": "coronal", "o": "oblique"}


def texts_of(n_series: int, seed: int = 0) -> list[tuple[str, ...]]:
    """Five texts of each of `n_series` series."""
    rules, templates = load_rules(), load_templates()
    return [
        render_templates(facts, classify(facts, rules), templates)
        for facts in series(n_series, seed)
    ]


def series(n_series: int, seed: int = 0) -> Iterator[SeriesFacts]:
    """Facts of made-up series; the same for the same seed, and the first n for any larger n."""
    for number in range(n_series):
        yield _one(number, np.random.default_rng((seed, number)))


def _one(number: int, random: np.random.Generator) -> SeriesFacts:
    modality = str(random.choice(_MODALITIES, p=_MODALITY_SHARES))
    part, plane = _skewed(_PARTS[modality], random), _skewed(_PLANES, random)
    contrast = str(random.choice(_CONTRAST))
    attributes = {
        "Modality": modality,
        "StudyDescription": _skewed(_STUDIES, random).format(
            modality=modality, part=part, contrast=contrast
        ),
        "SeriesDescription": _description(modality, part, plane, contrast, random),
        "Manufacturer": _skewed(_MAKERS, random),
        "PatientSex": str(random.choice(("F", "M", "F", "M", "O"))),
        "AgeYears": int(random.integers(0, 90)),
    }
    if modality in ("MR", "CT"):
        attributes["SliceThickness"] = float(random.choice((0.6, 1, 1.25, 2, 3, 4, 5, 6, 8)))
    if modality == "MR":
        attributes["MagneticFieldStrength"] = float(random.choice((1.5, 3.0, 1.5, 3.0, 0.55, 7.0)))
    if random.random() < 0.5:
        attributes["ProtocolName"] = _description(modality, part, plane, contrast, random)
    if random.random() < 0.4:
        attributes["BodyPartExamined"] = part.upper().replace("-", "")
    planes = {_PLANE_NAMES[plane[0]]: 20} if plane and modality in ("MR", "CT", "PT") else {}
    return SeriesFacts(
        scope="s",
        series_instance_uid=f"2.25.{number}",
        study_instance_uid=f"2.25.9{number}",
        instances=20,
        frames=20,
        has_pixels=True,
        attributes={keyword: ((value, 20),) for keyword, value in attributes.items()},
        planes=planes,
        patient_keys=("k",),
    )


def _description(
    modality: str, part: str, plane: str, contrast: str, random: np.random.Generator
) -> str:
    """A series description as a site might write it."""
    if modality == "MR":
        words = [plane, _skewed(_SEQUENCES, random), _skewed(_TECHNIQUES, random)]
        words += [part] if random.random() < 0.5 else []
        words += [f"{random.integers(1, 9)}mm"] if random.random() < 0.3 else []
        words += [f"b{50 * random.integers(0, 30)}"] if words[1] in ("DWI", "DTI") else []
    elif modality == "CT":
        words = [part, _skewed(_CT_KINDS, random), f"{random.choice((0.6, 1, 1.5, 2, 3, 5)):g}"]
        words += [_skewed(_KERNELS, random), contrast] if random.random() < 0.7 else [plane]
    else:
        words = [part, _skewed(_VIEWS, random)]
        words += [f"{random.integers(1, 40)}"] if random.random() < 0.2 else []
    if random.random() < 0.2:
        words.append(str(random.choice(_NOTES)))
    joined = str(random.choice((" ", "_", " "))).join(word for word in words if word)
    return joined.upper() if random.random() < 0.3 else joined


def _skewed(choices: str, random: np.random.Generator) -> str:
    """One of a comma-separated list, the first ones most often: each has a weight of 1/rank."""
    words = choices.split(",")
    bounds = np.cumsum(1 / np.arange(1, len(words) + 1))
    return words[int(np.searchsorted(bounds, random.random() * bounds[-1]))]
