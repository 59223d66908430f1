"""What a series shows, in two words; light, since both rules and pixels speak of it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Anatomy:
    """Body region and part of a series, in the words of its record; empty or unknown if not known.

    It decides how computed tomography is shown to an image encoder (ADR 0022).
    """

    region: str = ""
    part: str = ""


UNKNOWN_ANATOMY = Anatomy()
