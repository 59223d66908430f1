"""What the collections hold, and how states of the index lie in them side by side.

One generation of an index is three collections: `series`, an entity for every series, and `text`
and `image`, an entity for every vector. Milvus joins nothing, so the fields that filters ask for
are in all three.

**Versions.** An entity is never changed but for the field `died`, and its id says which version of
its series it is. It was born with the manifest that made it count and has died with the one that
replaced, removed or hid it. A state is what a manifest number N sees: ``born <= N and died > N``.
So nothing of a manifest that is half applied can be seen, in no collection, and states of the last
manifests can still be searched until their dead are swept.

**Values.** Filters compare without regard to case, and Milvus does not: text fields hold
``pyarrow.compute.utf8_lower`` of the value, and null where a filter would call it unknown (null, ""
or "unknown"; of `sequence`, an empty list). Lists are texts, too, with `ITEM` around every item:
Milvus evaluates its arrays slowly. `flags` has "provisional" where the map says so. What is shown,
counted or grouped by needs the value as it is written: the `series` collection has it, as
``modalityAsWritten``, and the whole record in `row`.
"""

from dataclasses import dataclass

from pymilvus import CollectionSchema, DataType, MilvusClient

from indexer_core.index.rows import (
    BOOL_FIELDS,
    COUNT_FIELDS,
    LIST_FIELDS,
    NUMBER_FIELDS,
    STRING_FIELDS,
)

SERIES, TEXT, IMAGE = "series", "text", "image"
"""Collections of a generation; the last two are named as their spaces."""

FOREVER = (1 << 62) - 1
"""`died` of what counts still."""

ID, KEY, SCOPE, UID, NUMBER, VECTOR = "id", "seriesKey", "scopeName", "uid", "number", "vector"
"""`scopeName` and `uid` are as written; `number`: which vector of its series, from 0 on."""
SHORT_KEY, IMAGE_COUNT, BORN, DIED = "shortKey", "imageCount", "born", "died"
"""`shortKey`: how the key begins, as `indexer_core.named` says."""
ROW, REVISION, PLACE, IS_PLACED = "row", "revision", "place", "isPlaced"
"""`row`: see `indexer_core.adapters.milvus.entities`. `place`: x and y, 0 where it has none."""

ITEM = "\n"
"""Before, between and after the items of a list; "" is an empty list.

A line break within an item lies here as a space, and a filter that names one finds nothing, unlike
on segments. No rule and no header gives such an item: they are words of the vocabulary.
"""

MAX_BYTES = 65_535
"""Longest text that Milvus takes."""


def as_written(field: str) -> str:
    """The field of the `series` collection that has a text or list as it is written."""
    return f"{field}AsWritten"


LOOKED_UP = (
    KEY,
    SHORT_KEY,
    SCOPE,
    UID,
    BORN,
    DIED,
    as_written("studyInstanceUid"),
    as_written("patientKey"),
)
"""Fields that are asked for some of very many values: they have an inverted index."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Names of the collections of a generation.

    Parameters
    ----------
    prefix
        Of all collections of an index, so that several share a Milvus: letters, digits and _.
    generation
        Which of them; a rebuild makes the next one.
    """

    prefix: str
    generation: str

    def collection(self, kind: str) -> str:
        """The name of one of `SERIES`, `TEXT` and `IMAGE`."""
        return f"{self.prefix}_{self.generation}_{kind}"


def series_schema() -> CollectionSchema:
    """The schema of the `series` collection."""
    schema = _with_filter_fields()
    for field in (*STRING_FIELDS, *LIST_FIELDS):
        schema.add_field(as_written(field), DataType.VARCHAR, max_length=MAX_BYTES, nullable=True)
    schema.add_field(ROW, DataType.VARCHAR, max_length=MAX_BYTES)
    schema.add_field(REVISION, DataType.INT64)
    schema.add_field(IS_PLACED, DataType.BOOL)
    # A collection has to have a vector: the place on the map is one.
    schema.add_field(PLACE, DataType.FLOAT_VECTOR, dim=2)
    return schema


def vector_schema(dimension: int) -> CollectionSchema:
    """The schema of the `text` or `image` collection, for vectors of this dimension."""
    schema = _with_filter_fields()
    schema.add_field(NUMBER, DataType.INT64)
    schema.add_field(VECTOR, DataType.FLOAT_VECTOR, dim=dimension)
    return schema


def _with_filter_fields() -> CollectionSchema:
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field(ID, DataType.VARCHAR, is_primary=True, max_length=512)
    schema.add_field(KEY, DataType.VARCHAR, max_length=256)
    schema.add_field(SHORT_KEY, DataType.VARCHAR, max_length=256)
    for name in (SCOPE, UID, *STRING_FIELDS, *LIST_FIELDS):
        schema.add_field(name, DataType.VARCHAR, max_length=MAX_BYTES, nullable=True)
    for name in NUMBER_FIELDS:
        schema.add_field(name, DataType.DOUBLE, nullable=True)
    for name in COUNT_FIELDS:
        schema.add_field(name, DataType.INT64, nullable=True)
    for name in BOOL_FIELDS:
        schema.add_field(name, DataType.BOOL, nullable=True)
    for name in (IMAGE_COUNT, BORN, DIED):
        schema.add_field(name, DataType.INT64)
    return schema
