"""Values of a series in the form that texts and records show them."""

import re

from indexer_core.rules.conditions import FactsView

OLDEST_AGE_YEARS = 90
_DESCRIPTIONS = (
    "StudyDescription",
    "SeriesDescription",
    "ProtocolName",
    "PerformedProcedureStepDescription",
    "RequestedProcedureDescription",
)
_MAX_CHARACTERS = 120
_GAUSS_PER_TESLA = 10_000.0
_STRONGEST_T = 25.0
_SEPARATORS = str.maketrans({"_": " ", "^": " "})
# Dates, times, UIDs and long numbers say who and when, not what.
_IDENTIFYING = re.compile(
    r"\b\d{1,4}([./-])\d{1,2}\1\d{1,4}\b|\b\d+(?:\.\d+){3,}\b|\b\w*\d{6,}\w*\b|\S+@\S+|\b\d{1,2}:\d{2}(?::\d{2})?\b"
)
_AGE_TEXT = re.compile(r"(\d{1,3})\s*([YMWD]?)", re.IGNORECASE)
_PER_YEAR = {"Y": 1.0, "M": 12.0, "W": 52.18, "D": 365.25}
_CHILD, _ADOLESCENT, _ADULT, _MIDDLE, _ELDERLY = 2, 13, 18, 40, 60


def clean_descriptions(view: FactsView) -> tuple[str, ...]:
    """Distinct descriptions without dates, UIDs and long numbers, commonest first of each kind."""
    cleaned = []
    for keyword in _DESCRIPTIONS:
        for text, _ in view.texts(keyword):
            kept = " ".join(_IDENTIFYING.sub(" ", text.translate(_SEPARATORS)).split())
            cleaned.append(kept[:_MAX_CHARACTERS].strip(" ,;-_#"))
    return tuple(dict.fromkeys(text for text in cleaned if text))


def age_years(view: FactsView) -> float | None:
    """Age in years, 90 for anyone over 89; None when unknown."""
    numbers = view.numbers("AgeYears")
    years = numbers[0] if numbers else _age_of_text(view.text("PatientAge"))
    if years is None or years < 0:
        return None
    return min(float(years), float(OLDEST_AGE_YEARS)) if years < OLDEST_AGE_YEARS else 90.0


def _age_of_text(text: str) -> float | None:
    match = _AGE_TEXT.fullmatch(text)
    if match is None:
        return None
    return int(match[1]) / _PER_YEAR[match[2].upper() or "Y"]


def sex(view: FactsView) -> str:
    """``M``, ``F``, ``O`` or "" when the header does not tell."""
    written = view.text("PatientSex").upper()[:1]
    return {"W": "F"}.get(written, written) if written in ("M", "F", "O", "W") else ""


def age_band(view: FactsView) -> str:
    """Decade of age in words; "" when unknown."""
    years = age_years(view)
    if years is None:
        return ""
    if years >= OLDEST_AGE_YEARS:
        return "90 years or older"
    if years < 1:
        return "under 1 year"
    decade = int(years // 10) * 10
    return f"{decade}-{decade + 9} years"


def person(view: FactsView) -> str:
    """Stage of life and sex in words, like "an elderly woman"; "" when neither is known."""
    words = _stage_of_life(view)
    article = "an" if words[:1] in tuple("aeiou") else "a"
    return f"{article} {words}" if words else ""


def _stage_of_life(view: FactsView) -> str:
    years, letter = age_years(view), sex(view)
    adult = {"F": "woman", "M": "man"}.get(letter, "adult")
    young = {"F": "girl", "M": "boy"}.get(letter, "")
    prefix = {"F": "female ", "M": "male "}.get(letter, "")
    if years is None:
        return "" if letter not in ("F", "M") else adult
    if years < _CHILD:
        return f"{prefix}infant"
    if years < _ADOLESCENT:
        return f"child, {young}" if young else "child"
    if years < _ADULT:
        return f"{prefix}adolescent"
    stages = ((_MIDDLE, "young"), (_ELDERLY, "middle-aged"))
    stage = next((name for limit, name in stages if years < limit), "elderly")
    return f"{stage} {adult}"


def thickness_mm(view: FactsView) -> float | None:
    """Commonest slice thickness in millimetres; None when absent or impossible."""
    numbers = view.numbers("SliceThickness")
    return round(numbers[0], 3) if numbers and 0 < numbers[0] < 1000 else None


def field_strength_t(view: FactsView) -> float | None:
    """Field strength in tesla; values beyond any magnet are gauss."""
    numbers = view.numbers("MagneticFieldStrength")
    if not numbers or numbers[0] <= 0:
        return None
    tesla = numbers[0] / _GAUSS_PER_TESLA if numbers[0] > _STRONGEST_T else numbers[0]
    return round(tesla, 3)
