"""Removing identities from free text: what the same header names, and what looks like an id.

A word of a person's name, an id, or a word of an institution's name or address is removed from
every free text of the header it occurs in, together with dates, phone numbers, e-mail addresses,
UIDs and long runs of digits. A name that is an ordinary imaging word is left alone (`VOCABULARY`):
a phantom called ``BRAIN^PATIENT`` must not lose its body part, and where a person is really called
Head the word cannot be told from anatomy, so that it identifies nobody. Every other doubt is
decided for removal.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

# Words that stay whatever the header's names are. Kept small: each one is a name somebody may have.
VOCABULARY = frozenset(
    re.findall(
        r"\w+",
        """
        abd abdomen abdominal angio angle ankle anterior aorta ap arm ax axial bladder body bold
        bone brain breast calf cardiac carotid cerebral cervical chest clinic contrast cor coronal
        coronary cr cranial cranium cspine ct cta delayed diffusion dixon dose dr dti dwi dx
        dynamic ear echo elbow epi extremity eye face fast fat femur field fine finger flair foot
        forearm fov gre hand head heart helical hip image images imaging inferior inversion joint
        kidney knee larynx lateral left leg liver localiser localizer long loop lower lspine
        lumbar lung mammo mandible map mg mip mouth mpr mprage mr mra mri multi nasal neck neuro
        nm orbit os ot pancreas patient pd pelvic pelvis perfusion pet petrous phantom phase
        pituitary planar pos post posterior pre prostate pt quality radial recon rest resting rf
        rib right routine sag sagittal scan scout sella series shoulder sinus skeleton skull slice
        small soft spin spine spleen stage standard std stir stomach study supine swi t1 t1w t2
        t2w test thigh thin thoracic thorax thyroid tibia tof tongue trauma tse ultrasound upper
        us uterus valve vascular vein view vol volume wall whole wholebody wide window with
        without wrist xa xr
        """,
    )
)

_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)*")
_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?"
    r"|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
_ALONE, _ENDS = r"(?<![^\W_])", r"(?![^\W_])"
_DIGITS = re.compile(
    "|".join(
        (
            # UIDs
            r"\d+(?:\.\d+){4,}",
            # dates: 2019-01-31, 31.1.2019, 1/31/19, 31 Jan 2019, Jan 31 2019, 31JAN2019
            rf"{_ALONE}(?:19|20)\d{{2}}[-./ ]\d{{1,2}}[-./ ]\d{{1,2}}{_ENDS}",
            rf"{_ALONE}\d{{1,2}}[-./]\d{{1,2}}[-./](?:\d{{4}}|\d{{2}}){_ENDS}",
            rf"{_ALONE}\d{{1,2}}[-./ ]*{_MONTH}[-./, ]*(?:\d{{4}}|\d{{2}}){_ENDS}",
            rf"{_ALONE}{_MONTH}[-./ ]*\d{{1,2}}(?:st|nd|rd|th)?[-./, ]+(?:\d{{4}}|\d{{2}}){_ENDS}",
            # phone numbers: +31 20 555 1234, (555) 123-4567, 555-1234, 06 12 34 56 78
            rf"\+\d{{1,3}}(?:[ ().-]*\d){{6,}}{_ENDS}",
            rf"(?:\(\d{{2,4}}\)|{_ALONE}\d{{3}})[ .-]*\d{{3}}[ .-]\d{{4}}{_ENDS}",
            rf"{_ALONE}\d{{3}}-\d{{4}}{_ENDS}",
            rf"{_ALONE}\d{{2}}(?:[ .-]\d{{2}}){{4}}{_ENDS}",
            # anything numbered: six digits and more, with the letters that lead them
            r"[^\W\d_]{0,3}\d{6,}",
        )
    ),
    re.IGNORECASE,
)
_TITLED = re.compile(r"\b(?:Dr|Prof|Mrs|Ms)\.\s*\w+(?:[-']\w+)*")
_LETTERS = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")
_APOSTROPHE = re.compile("['\u2019]")
# Scripts written without spaces: ideographs, kana and hangul, plus Thai.
_UNSPACED = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]{2,}")
_EDGES = " \t_^=,;:/\\-"
_LEFTOVERS = re.compile(r"[\s_^=,;:/\\-]{2,}|\s+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identifiers:
    """What must not survive in the free text of a header.

    Parameters
    ----------
    words
        Folded words (no case, no accents) of persons, institutions and addresses.
    ids
        Folded ids of three characters and more.
    unspaced
        Parts of names in scripts that do not separate words.
    """

    words: frozenset[str] = frozenset()
    ids: tuple[str, ...] = ()
    unspaced: tuple[str, ...] = ()


class Texts(Protocol):
    """Header values as texts, by tag; empty when absent."""

    def texts(self, tag: int) -> tuple[str, ...]: ...


# DICOM PS3.15 annex E names these as identifying; the ones that hold a person's name (VR PN).
NAME_TAGS = (
    *(0x00080090, 0x0008009C, 0x00081048, 0x00081050, 0x00081060, 0x00081070),
    *(0x00100010, 0x00101001, 0x00101005, 0x00101060, 0x00102297, 0x00321032, 0x00400006),
    *(0x00402008, 0x00402010, 0x0040A075, 0x0040A123, 0x00700084, 0x300E0008),
)
# Ids: patient, accession, study, procedure, serial numbers, dates of birth, phone numbers.
ID_TAGS = (
    *(0x00080050, 0x00080094, 0x00100020, 0x00100030, 0x00101000, 0x00102154),
    *(0x00181000, 0x00200010, 0x00321033, 0x00380010, 0x00400253, 0x00401001, 0x00402016),
    *(0x00402017, 0x00101090, 0x00181002, 0x00181004, 0x00181007, 0x00101050),
)
# Places: institution, its address and department, the patient's address.
PLACE_TAGS = (0x00080080, 0x00080081, 0x00081040, 0x00101040, 0x00102150, 0x00102152, 0x00380300)


def identifiers_of(dataset: Texts) -> Identifiers:
    """The identifiers that a header itself names."""
    return identifiers(
        names=[text for tag in NAME_TAGS for text in dataset.texts(tag)],
        ids=[text for tag in ID_TAGS for text in dataset.texts(tag)],
        places=[text for tag in PLACE_TAGS for text in dataset.texts(tag)],
    )


def identifiers(
    *, names: Iterable[str] = (), ids: Iterable[str] = (), places: Iterable[str] = ()
) -> Identifiers:
    """Identifiers from names (``Family^Given=ideographic=phonetic``), ids and places."""
    words: set[str] = set()
    unspaced: set[str] = set()
    for name in names:
        for group in name.split("="):
            words |= _name_words(group)
            unspaced |= _unspaced_parts(group)
    for place in places:
        words.update(word for word in _words(place) if len(word) > 2)
        unspaced |= _unspaced_parts(place)
    folded = {_fold(text).strip() for text in ids}
    return Identifiers(
        words=frozenset(words) - VOCABULARY,
        ids=tuple(sorted(text for text in folded if _identifies(text))),
        unspaced=tuple(sorted(unspaced, key=lambda part: (-len(part), part))),
    )


def scrub(text: str, identifiers: Identifiers) -> str:
    """The text without the identifiers, and without anything that looks like one.

    Words are compared whole, without case and accents; ids of five characters and more also inside
    words. Applied to its own result it changes nothing.
    """
    while True:
        scrubbed = _scrub_once(text, identifiers)
        # What is left may join into something that looks like an identifier.
        if scrubbed == text:
            return text
        text = scrubbed


def _scrub_once(text: str, identifiers: Identifiers) -> str:
    before = text
    for part in identifiers.unspaced:
        text = text.replace(part, " ")
    for identifier in identifiers.ids:
        text = _without_id(text, identifier)
    if "@" in text:
        text = _EMAIL.sub(" ", text)
    if any(map(str.isdigit, text)):
        text = _DIGITS.sub(" ", text)
    if "." in text:
        text = _TITLED.sub(" ", text)
    if identifiers.words:
        text = _LETTERS.sub(lambda word: _kept(word.group(), identifiers.words), text)
    return text if text == before else _tidy(text)


def _kept(word: str, removed: frozenset[str]) -> str:
    return word if removed.isdisjoint(_word_forms(word)) else " "


def _without_id(text: str, identifier: str) -> str:
    folded = _fold(text)
    if identifier not in folded:
        return text
    pattern = _id_pattern(identifier)
    # An id with accents is found in the folded text only.
    return pattern.sub(" ", text if pattern.search(text) else folded)


def _id_pattern(identifier: str) -> re.Pattern[str]:
    pattern = re.escape(identifier)
    # A short id inside a longer word is a coincidence; a long one has something glued on.
    return re.compile(
        pattern if len(identifier) >= 5 else f"{_ALONE}{pattern}{_ENDS}", re.IGNORECASE
    )


def _identifies(text: str) -> bool:
    """Ids of one or two characters occur in any text; imaging words are no ids."""
    return len(text) >= 3 and text not in VOCABULARY


def _name_words(group: str) -> set[str]:
    """Words of a name, and the ways in which its parts are commonly run together."""
    components = [_LETTERS.findall(component) for component in group.split("^")]
    joined = ["".join(_word_forms(word)[0] for word in words) for words in components if words]
    found = {*_words(group), *joined}
    for one in joined[:3]:
        for other in joined[:3]:
            if one != other:
                found |= {one + other, one + other[0], one[0] + other}
    return {word for word in found if len(word) > 1}


def _words(text: str) -> list[str]:
    return [form for word in _LETTERS.findall(text) for form in _word_forms(word)]


def _word_forms(word: str) -> list[str]:
    """The folded word; with an apostrophe also the word without it, and its longer parts."""
    folded = _fold(word)
    parts = _APOSTROPHE.split(folded)
    if len(parts) == 1:
        return parts
    return ["".join(parts), *(part for part in parts if len(part) > 2)]


def _unspaced_parts(text: str) -> set[str]:
    """Runs of unspaced script, and family and given name together."""
    parts = _UNSPACED.findall(text)
    return {*parts, "".join(parts)} - {""}


def _fold(text: str) -> str:
    """Without case and accents."""
    if text.isascii():
        return text.lower()
    # Upper case first: a dotless i and an i have the same capital.
    decomposed = unicodedata.normalize("NFKD", text.upper().casefold())
    kept = "".join(char for char in decomposed if not unicodedata.combining(char))
    return unicodedata.normalize("NFC", kept)


def _tidy(text: str) -> str:
    """Spaces and punctuation that removal left behind."""
    return _LEFTOVERS.sub(" ", text).strip(_EDGES)
