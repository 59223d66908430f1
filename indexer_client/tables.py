"""Series that were found, as a sequence and as tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

from indexer_client.series import Series

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

_COLUMNS = (
    "score",
    "uid",
    "study_uid",
    "modality",
    "body_region",
    "body_part",
    "plane",
    "sequence",
    "contrast",
    "instances",
    "frames",
    "slice_thickness_mm",
    "field_strength_t",
    "manufacturer",
    "model",
    "age_years",
    "sex",
    "study_date",
    "patient_key",
    "descriptions",
    "flags",
    "scope",
    "key",
    "x",
    "y",
)
_NUMBERS = {"score", "slice_thickness_mm", "field_strength_t", "age_years", "x", "y"}
_COUNTS = {"instances", "frames"}
_LISTS = {"sequence", "descriptions", "flags"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found(Sequence[Series]):
    """Series in the order of the answer.

    total: how many meet the filters, of which these are the best. manifest: number of the state
    of the index that answered; the same question gives the same answer from it while it is
    retained. raw: the rest of the answer, such as how the question was understood.
    """

    series: tuple[Series, ...]
    total: int
    manifest: int
    next_link: str | None
    raw: Mapping[str, Any]
    question: Mapping[str, Any] | None = None
    """What was sent to get it, where the next page is asked for by the same."""

    @classmethod
    def from_json(
        cls, answer: Mapping[str, Any], question: Mapping[str, Any] | None = None
    ) -> "Found":
        """Read an answer."""
        return cls(
            series=tuple(Series.from_json(each) for each in answer["value"]),
            total=answer.get("count", len(answer["value"])),
            manifest=answer["manifest"],
            next_link=answer.get("nextLink"),
            raw={name: value for name, value in answer.items() if name != "value"},
            question=question,
        )

    @overload
    def __getitem__(self, place: int) -> Series: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Series]: ...
    def __getitem__(self, place: int | slice) -> Series | Sequence[Series]:
        """One of them, or several."""
        return self.series[place]

    def __len__(self) -> int:
        """How many there are here."""
        return len(self.series)

    def to_arrow(self) -> "pa.Table":
        """A pyarrow table: one row per series, the same columns and types for any answer."""
        import pyarrow as pa

        columns = {
            name: pa.array(
                [_plain(getattr(each, name)) for each in self.series], type=_type(name, pa)
            )
            for name in _COLUMNS
        }
        return pa.table(columns)

    def to_pandas(self) -> "pd.DataFrame":
        """A pandas frame."""
        return self.to_arrow().to_pandas()

    def to_polars(self) -> "pl.DataFrame":
        """A polars frame."""
        import polars as pl

        frame = pl.from_arrow(self.to_arrow())
        assert isinstance(frame, pl.DataFrame)
        return frame


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _type(name: str, pa: Any) -> Any:
    if name in _NUMBERS:
        return pa.float64()
    if name in _COUNTS:
        return pa.int64()
    return pa.list_(pa.string()) if name in _LISTS else pa.string()
