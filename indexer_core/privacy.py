"""Removing identities from free text: what the same header names, and what looks like an id.

A word of a person's name, an id, or a word of an institution's name or address is removed from
every free text of the header it occurs in, together with dates, phone numbers, e-mail addresses,
UIDs and long runs of digits. A name that is an ordinary imaging word is left alone (`VOCABULARY`):
a phantom called ``BRAIN^PATIENT`` must not lose its body part, and where a person is really called
Head the word cannot be told from anatomy, so that it identifies nobody. Every other doubt is
decided for removal.
"""

import itertools
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
# English, German, French, Spanish, Italian, Dutch and Portuguese, and what they abbreviate to.
_MONTH = (
    r"(?:jan(?:uar[yi]?|v(?:ier)?|eiro)?|j[\u00e4a]e?nner|ene(?:ro)?|gen(?:naio)?"
    r"|feb(?:r(?:uar[yi]?|ero)|braio)?|f[\u00e9e]v(?:r(?:ier)?|ereiro)?"
    r"|m(?:ar(?:ch|s|zo)?|[\u00e4a]e?rz|aart|rt|ar[\u00e7c]o)|a(?:pr(?:ile?)?|vr(?:il)?|br(?:il)?)"
    r"|ma(?:y|i|yo|io|g(?:gio)?)|mei|ju(?:ne?|ni|in|nio|nho)|giu(?:gno)?"
    r"|ju(?:ly?|li|il(?:let)?|lio|lho)|lug(?:lio)?|a(?:ug(?:ust(?:us)?)?|o[\u00fbu]t|go(?:sto)?)"
    r"|se(?:p(?:t(?:embre|ember|iembre)?)?|t(?:iembre|embro|t(?:embre)?)?)"
    r"|o(?:ct(?:ob(?:re|er)|ubre)?|kt(?:ober)?|tt(?:obre)?|ut(?:ubro)?)"
    r"|nov(?:ember|embre|iembre|embro)?|d(?:e[cz](?:ember|embre|embro)?|[\u00e9e]c(?:embre)?"
    r"|ic(?:embre|iembre)?))"
)
_ALONE, _ENDS = r"(?<![^\W_])", r"(?![^\W_])"
_DAY = r"(?:0?[1-9]|[12]\d|3[01])"
_YEAR = r"(?:19|20)\d{2}"
_OF = r"[-./, ]*(?:(?:de|del|of) +)?"
_DIGITS = re.compile(
    "|".join(
        (
            # UIDs
            r"\d+(?:\.\d+){4,}",
            # dates: 2019-01-31, 31 1 2019, 1/31/19, 31 Jan 2019, 31 de enero de 2019, Jan 31 2019
            rf"{_ALONE}{_YEAR}[-./ _]\d{{1,2}}[-./ _]\d{{1,2}}{_ENDS}",
            rf"{_ALONE}{_DAY}[ _]{_DAY}[ _]{_YEAR}{_ENDS}",
            rf"{_ALONE}\d{{1,2}}[-./]\d{{1,2}}[-./](?:\d{{4}}|\d{{2}}){_ENDS}",
            rf"{_ALONE}\d{{1,2}}(?:er|st|nd|rd|th|\u00ba)?{_OF}{_MONTH}{_OF}(?:\d{{4}}|\d{{2}}){_ENDS}",
            rf"{_ALONE}{_MONTH}[-./ ]*\d{{1,2}}(?:st|nd|rd|th)?[-./, ]+(?:\d{{4}}|\d{{2}}){_ENDS}",
            # months: Jan 2019, 01/2019, 2019-01
            rf"{_ALONE}{_MONTH}{_OF}{_YEAR}{_ENDS}",
            rf"{_ALONE}(?:0?[1-9]|1[0-2])[-./]{_YEAR}{_ENDS}",
            rf"{_ALONE}{_YEAR}[-./](?:0[1-9]|1[0-2]){_ENDS}",
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
# In mixed case only: "DR CHEST" is digital radiography. "Mr" is magnetic resonance too often.
_TITLED = re.compile(
    r"\b(?:(?:Dr|Prof|Mrs|Ms)\.\s*\w+(?:[-']\w+)*"
    r"|(?:Dr|Prof|Mrs|Ms|Mme|Herr|Frau|Dra)\s+(?P<name>[A-Z][a-z]\w*(?:[-']\w+)*))"
)
_LETTERS = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")
_APOSTROPHE = re.compile("['\u2019]")
_CAMEL = re.compile(r"(?<=[^\W\d_A-Z])(?=[A-Z])")
# Scripts written without spaces: ideographs, kana and hangul, plus Thai.
_UNSPACED = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]{2,}")
_HIRAGANA = {code: code + 0x60 for code in range(0x3041, 0x3097)}
_KATAKANA = {katakana: hiragana for hiragana, katakana in _HIRAGANA.items()}
_EDGES = " \t_^=,;:/\\-"
_LEFTOVERS = re.compile(r"[\s_^=,;:/\\-]{2,}|\s+")
# Letters that have no accent to lose, and how they and the umlauts are spelt out.
_PLAIN = str.maketrans(
    {"\u00f8": "o", "\u0142": "l", "\u0111": "d", "\u00e6": "ae", "\u0153": "oe"}
)
_SPELT = str.maketrans(
    {"\u00e4": "ae", "\u00f6": "oe", "\u00fc": "ue", "\u00e5": "aa", "\u00f8": "oe"}
)
_SPELT_OUT = re.compile("([aou])e|aa")
# Names as long as this are removed from inside of words, too: "HEADSMITH".
_LONG_NAME = 5
_LONG_ID = 5
_NUMBERED_ID = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Identifiers:
    """What must not survive in the free text of a header.

    Parameters
    ----------
    words
        Folded words (no case, no accents) of persons, institutions and addresses.
    inside
        Those of persons that are looked for inside of words as well.
    ids
        Folded ids without separators, three characters and more; dates in the ways to write them.
    unspaced
        Parts of names in scripts that do not separate words.
    """

    words: frozenset[str] = frozenset()
    inside: tuple[str, ...] = ()
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
# Ids: patient, accession, study, procedure, serial numbers, phone numbers.
ID_TAGS = (
    *(0x00080050, 0x00080094, 0x00100020, 0x00101000, 0x00102154),
    *(0x00181000, 0x00200010, 0x00321033, 0x00380010, 0x00400253, 0x00401001, 0x00402016),
    *(0x00402017, 0x00101090, 0x00181002, 0x00181004, 0x00181007, 0x00101050),
)
# Dates: birth; creation, study, series, acquisition, content, procedure step.
DATE_TAGS = (*(0x00100030, 0x00080012, 0x00080020, 0x00080021, 0x00080022, 0x00080023, 0x00400244),)
# Places: institution, its address and department, the patient's address.
PLACE_TAGS = (0x00080080, 0x00080081, 0x00081040, 0x00101040, 0x00102150, 0x00102152, 0x00380300)


def identifiers_of(dataset: Texts) -> Identifiers:
    """The identifiers that a header itself names."""
    return identifiers(
        names=[text for tag in NAME_TAGS for text in dataset.texts(tag)],
        ids=[text for tag in ID_TAGS for text in dataset.texts(tag)],
        places=[text for tag in PLACE_TAGS for text in dataset.texts(tag)],
        dates=[text for tag in DATE_TAGS for text in dataset.texts(tag)],
    )


def identifiers(
    *,
    names: Iterable[str] = (),
    ids: Iterable[str] = (),
    places: Iterable[str] = (),
    dates: Iterable[str] = (),
) -> Identifiers:
    """Identifiers from names (``Family^Given=ideographic=phonetic``), ids, places and dates."""
    persons: set[str] = set()
    words: set[str] = set()
    unspaced: set[str] = set()
    for name in names:
        for group in name.split("="):
            persons |= _name_words(group)
            unspaced |= _unspaced_parts(group)
    for place in places:
        words.update(word for word in _words(place) if len(word) > 2)
        unspaced |= _unspaced_parts(place)
    persons -= VOCABULARY
    numbers = {form for text in ids for form in _id_forms(text)}
    numbers.update(form for text in dates for form in _date_forms(text))
    return Identifiers(
        words=frozenset((words | persons) - VOCABULARY),
        inside=tuple(sorted(word for word in persons if len(word) >= _LONG_NAME)),
        ids=tuple(sorted(numbers)),
        unspaced=tuple(sorted(unspaced, key=lambda part: (-len(part), part))),
    )


def scrub(text: str, identifiers: Identifiers) -> str:
    """The text without the identifiers, and without anything that looks like one.

    Words are compared without case, accents and umlauts, whole or as parts of camelCase; longer
    names and ids also inside words. Applied to its own result it changes nothing.
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
    text = _without_ids(text, identifiers.ids)
    if "@" in text:
        text = _EMAIL.sub(" ", text)
    if any(map(str.isdigit, text)):
        text = _DIGITS.sub(" ", text)
    text = _TITLED.sub(_untitled, text)
    if identifiers.words:
        text = _LETTERS.sub(lambda word: _kept(word.group(), identifiers), text)
    return text if text == before else _tidy(text)


def _untitled(found: re.Match[str]) -> str:
    """Nothing, unless what follows the title is an imaging word."""
    name = found["name"]
    return found[0] if name is not None and _fold(name) in VOCABULARY else " "


def _kept(word: str, identifiers: Identifiers) -> str:
    forms = _word_forms(word)
    if not identifiers.words.isdisjoint(forms):
        return " "
    if not VOCABULARY.isdisjoint(forms):
        return word
    parts = _CAMEL.split(word)
    if len(parts) > 1:
        left = [
            " " if not identifiers.words.isdisjoint(_word_forms(part)) else part for part in parts
        ]
        if left != parts:
            return "".join(left)
    for name in identifiers.inside:
        for form in forms:
            if name in form:
                return form.replace(name, " ")
    return word


def _without_ids(text: str, ids: Iterable[str]) -> str:
    compact = _compact(_fold(text))
    for identifier in ids:
        if identifier in compact:
            text = _without_id(text, identifier)
            compact = _compact(_fold(text))
    return text


def _without_id(text: str, identifier: str) -> str:
    pattern = _id_pattern(identifier)
    if pattern.search(text):
        return pattern.sub(" ", text)
    # An id with accents is found in the folded text only.
    folded = _fold(text)
    return pattern.sub(" ", folded) if pattern.search(folded) else text


def _id_pattern(identifier: str) -> re.Pattern[str]:
    glued = re.escape(identifier)
    if len(identifier) >= _LONG_ID:
        # Anywhere as it is, since something may be glued on; with separators only by itself.
        parted = "[-_./: ]?".join(map(re.escape, identifier))
        pattern = f"{glued}|{_ALONE}{parted}{_ENDS}"
    elif identifier.isdigit() and len(identifier) >= _NUMBERED_ID:
        pattern = rf"(?<!\d){glued}(?!\d)"
    else:
        # A short id inside a longer word is a coincidence.
        pattern = f"{_ALONE}{glued}{_ENDS}"
    return re.compile(pattern, re.IGNORECASE)


def _id_forms(text: str) -> set[str]:
    """The id without separators, and without leading zeros where enough is left.

    Ids of one or two characters occur in any text; imaging words are no ids.
    """
    compact = _compact(_fold(text))
    if len(compact) < 3 or compact in VOCABULARY:
        return set()
    short = compact.lstrip("0")
    return {compact, short} if short.isdigit() and len(short) >= _LONG_ID else {compact}


def _date_forms(text: str) -> set[str]:
    """A date (DICOM PS3.5 section 6.2, VR DA) in the orders of its parts."""
    digits = _compact(text)[:8]
    if len(digits) != 8 or not digits.isdigit():
        return set()
    year, month, day = digits[:4], digits[4:6], digits[6:]
    return {
        form
        for one in (year, year[2:])
        for form in (one + month + day, day + month + one, month + day + one)
    }


def _compact(text: str) -> str:
    return "".join(filter(str.isalnum, text))


def _name_words(group: str) -> set[str]:
    """Words of a name, and the ways in which its parts are commonly run together."""
    components = [_LETTERS.findall(component) for component in group.split("^")]
    spelt = [[_word_forms(word)[0] for word in words] for words in components if words]
    joined = ["".join(words) for words in spelt]
    found = {*_words(group), *joined}
    for words in spelt:
        found.update(one + other for one, other in itertools.pairwise(words))
    for one in joined[:3]:
        for other in joined[:3]:
            if one != other:
                found |= {one + other, one + other[0], one[0] + other}
    found |= {_contracted(word) for word in found}
    return {word for word in found if len(word) > 1}


def _contracted(word: str) -> str:
    """``mueller`` to ``muller``, which is what is left of an umlaut without its dots."""
    short = _SPELT_OUT.sub(lambda found: found[1] or "a", word)
    return short if len(short) > 3 else word


def _words(text: str) -> list[str]:
    return [form for word in _LETTERS.findall(text) for form in _word_forms(word)]


def _word_forms(word: str) -> list[str]:
    """The folded word, also with umlauts spelt out; after an apostrophe also its longer parts."""
    if word.isascii():
        if "'" not in word:
            return [word.lower()]
        forms = [word.lower()]
    else:
        forms = [_fold(word), _fold(word.casefold().translate(_SPELT))]
    parts = [part for form in forms for part in _APOSTROPHE.split(form)]
    if len(parts) == len(forms):
        return forms
    whole = [_APOSTROPHE.sub("", form) for form in forms]
    return [*whole, *(part for part in parts if len(part) > 2)]


def _unspaced_parts(text: str) -> set[str]:
    """Runs of unspaced script, family and given name together, in either kana."""
    parts = _UNSPACED.findall(text)
    found = {*parts, "".join(parts)} - {""}
    return {
        form
        for part in found
        for form in (part, part.translate(_HIRAGANA), part.translate(_KATAKANA))
    }


def _fold(text: str) -> str:
    """Without case and accents."""
    if text.isascii():
        return text.lower()
    # Upper case first: a dotless i and an i have the same capital.
    decomposed = unicodedata.normalize("NFKD", text.upper().casefold())
    kept = "".join(char for char in decomposed if not unicodedata.combining(char))
    return unicodedata.normalize("NFC", kept).translate(_PLAIN)


def _tidy(text: str) -> str:
    """Spaces and punctuation that removal left behind."""
    return _LEFTOVERS.sub(" ", text).strip(_EDGES)
