"""Values of elements: text in any DICOM character set, and finite numbers."""

import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from struct import Struct

from indexer_core.headers.elements import Element, items

SPECIFIC_CHARACTER_SET = 0x00080005

# Longer values are cut before they are decoded: nothing wanted from a header is longer.
MAX_VALUE_BYTES = 4096
MAX_TEXT = 128
MAX_VALUES = 16

_ESCAPE = b"\x1b"
# After one of these the first character set is in force again (DICOM PS3.5 section 6.1.2.5.3).
_RESETS = re.compile(rb"[\t\n\f\r\\^=]")
_ESCAPED_PARTS = re.compile(b"^[^\x1b]+|\x1b[^\x1b]*")
# Codecs of Python that want the escape sequence left in place.
_KEEP_ESCAPE = ("iso2022_jp", "iso2022_jp_2")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060\ufeff\ufffd]+")
_SPACES = re.compile(r"\s+")

_BINARY = {
    b"US": ("H", 2),
    b"SS": ("h", 2),
    b"UL": ("L", 4),
    b"SL": ("l", 4),
    b"FL": ("f", 4),
    b"FD": ("d", 8),
    b"UV": ("Q", 8),
    b"SV": ("q", 8),
}
_NUMBERS = {
    (vr, little): (Struct(("<" if little else ">") + code), size)
    for vr, (code, size) in _BINARY.items()
    for little in (True, False)
}


class DataSet:
    """Elements of one data set, converted when asked for; a damaged value reads as absent."""

    __slots__ = ("_data", "_elements", "_encodings")

    def __init__(
        self, data: bytes, elements: dict[int, Element], encodings: Sequence[str] = ()
    ) -> None:
        self._data = data
        self._elements = elements
        self._encodings = encodings
        if SPECIFIC_CHARACTER_SET in elements:
            self._encodings = _python_encodings(self.raw(SPECIFIC_CHARACTER_SET))

    def __contains__(self, tag: int) -> bool:
        return tag in self._elements

    def __len__(self) -> int:
        return len(self._elements)

    def raw(self, tag: int) -> bytes:
        """The first 4096 bytes of a value, empty when the element is absent."""
        element = self._elements.get(tag)
        if element is None:
            return b""
        return self._data[element.start : min(element.stop, element.start + MAX_VALUE_BYTES)]

    def text(self, tag: int) -> str:
        """A value of one text: cleaned, at most 128 characters, backslashes read as spaces."""
        raw = self.raw(tag)
        return clean(decode(raw, self._encodings).replace("\\", " ")) if raw else ""

    def texts(self, tag: int) -> tuple[str, ...]:
        """The non-empty texts of a value of several, at most 16."""
        raw = self.raw(tag)
        if not raw:
            return ()
        texts = (clean(part) for part in decode(raw, self._encodings).split("\\"))
        return tuple(text for text in texts if text)[:MAX_VALUES]

    def numbers(self, tag: int, vr: bytes) -> tuple[int | float, ...]:
        """The finite numbers of a value, at most 16; `vr` counts where the element tells none."""
        element = self._elements.get(tag)
        if element is None:
            return ()
        told = element.vr if element.vr not in (b"", b"UN") else vr
        raw = self.raw(tag)
        if told in _BINARY:
            return _binary_numbers(raw, told, little=element.encoding.little)
        return _text_numbers(raw)

    def number(self, tag: int, vr: bytes) -> int | float | None:
        """The first finite number of a value, or None."""
        numbers = self.numbers(tag, vr)
        return numbers[0] if numbers else None

    def items(self, tag: int, max_items: int = MAX_VALUES) -> Iterator["DataSet"]:
        """Items of a sequence."""
        element = self._elements.get(tag)
        if element is not None:
            for elements in items(self._data, element, max_items):
                yield DataSet(self._data, elements, self._encodings)


def clean(text: str) -> str:
    """One line of text: compatibility forms folded, nothing unprintable, 128 characters at most."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    if not text.isprintable():
        text = _UNPRINTABLE.sub(" ", text)
    if "  " in text or not text.isascii():
        text = _SPACES.sub(" ", text)
    return text.strip()[:MAX_TEXT].rstrip()


def decode(raw: bytes, encodings: Sequence[str]) -> str:
    """Text of a value; what cannot be decoded becomes the replacement character.

    Bytes beyond ASCII under no declared character set are taken as UTF-8 where they are, and as
    Latin-1 otherwise.
    """
    if raw.isascii() and _ESCAPE not in raw:
        return raw.decode("ascii")
    if not encodings:
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            return raw.decode("latin-1")
    if _ESCAPE not in raw:
        return raw.decode(encodings[0], "replace")
    return "".join(_decode_part(part, encodings[0]) for part in _ESCAPED_PARTS.findall(raw))


def _decode_part(part: bytes, first: str) -> str:
    """A part that starts with an escape sequence, or the part before the first one."""
    # Here and below: pydicom takes longer to load than to walk a thousand unchanged files.
    from pydicom.charset import CODES_TO_ENCODINGS

    if not part.startswith(_ESCAPE):
        return part.decode(first, "replace")
    length = 4 if part.startswith((b"\x1b$(", b"\x1b$)")) else 3
    encoding = CODES_TO_ENCODINGS.get(part[:length])
    if encoding is None:
        return part[1:].decode(first, "replace")
    if encoding in _KEEP_ESCAPE:
        return part.decode(encoding, "replace")
    part = part[length:]
    reset = _RESETS.search(part)
    if reset is None:
        return part.decode(encoding, "replace")
    return part[: reset.start()].decode(encoding, "replace") + part[reset.start() :].decode(
        first, "replace"
    )


def _python_encodings(raw: bytes) -> tuple[str, ...]:
    """Codecs for a value of Specific Character Set; unknown names count as undeclared."""
    from pydicom.charset import python_encoding

    names = [name.strip() for name in raw.decode("ascii", "replace").strip("\x00 ").split("\\")]
    known = [python_encoding.get(_term(name)) for name in names]
    if known[0] is None or names == [""]:
        return ()
    return tuple(name for name in known if name is not None)


def _term(name: str) -> str:
    """The defined term for common misspellings ("ISO-IR 100", "ISO IR 100", "ISO_IR_100")."""
    name = re.sub(r"[-_ ]+", " ", name.upper())
    if name.startswith("ISO IR "):
        return "ISO_IR " + name[7:]
    return name.replace("ISO2022 ", "ISO 2022 ")


def _binary_numbers(raw: bytes, vr: bytes, *, little: bool) -> tuple[int | float, ...]:
    struct, size = _NUMBERS[vr, little]
    count = min(len(raw) // size, MAX_VALUES)
    values = [struct.unpack_from(raw, index * size)[0] for index in range(count)]
    return tuple(value for value in values if math.isfinite(value))


def _text_numbers(raw: bytes) -> tuple[int | float, ...]:
    parts = raw.decode("latin-1").split("\\")[:MAX_VALUES]
    values = (_number(part.strip("\x00 \t\r\n")) for part in parts)
    return tuple(value for value in values if value is not None)


def _number(text: str) -> int | float | None:
    # DICOM PS3.5 section 6.2: a DS has 16 characters, an IS 12; float() also takes "1_0".
    if not 0 < len(text) <= 32 or "_" in text:
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    if not math.isfinite(value):
        return None
    return int(value) if value.is_integer() and abs(value) < 2**53 else value
