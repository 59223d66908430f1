"""Which series a purge is about: looked up in all history, and in what is not indexed yet."""

import json
from collections.abc import Callable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from indexer_core.assembly import MARKER
from indexer_core.index.all_rows import tables_in_history
from indexer_core.index.rows import RowTexts, column_of
from indexer_core.stores import Stores

_MIXED = "mixedPatient"


def series_with_uid(stores: Stores, uid: str) -> frozenset[str]:
    """Keys of the series with this Series Instance UID in any scope, or with this key."""

    def is_it(facts: dict[str, object]) -> bool:
        return facts["series_instance_uid"] == uid

    found = set(_instances(stores, uid, is_it))
    if stores.instances.get(uid, MARKER) is not None:
        found.add(uid)
    for table in tables_in_history(stores.index):
        named = pc.or_(_equals(table, "seriesKey", uid), _equals(table, "seriesInstanceUid", uid))
        found.update(table.column("seriesKey").filter(named).to_pylist())
    return frozenset(found)


def series_of_patient(stores: Stores, patient_key: str, scope: str | None = None) -> frozenset[str]:
    """Keys of the series of a patient, those that are of several patients too.

    Parameters
    ----------
    scope
        Only of this one.
    """

    def is_theirs(facts: dict[str, object]) -> bool:
        return facts["patient_key"] == patient_key

    found = set(_instances(stores, patient_key, is_theirs, scope))
    for table in tables_in_history(stores.index):
        theirs = _equals(table, "patientKey", patient_key)
        if scope is not None:
            theirs = pc.and_(theirs, _equals(table, "scope", scope))
        found.update(table.column("seriesKey").filter(theirs).to_pylist())
        found.update(_mixed(table, patient_key, scope))
    return frozenset(found)


def _equals(table: pa.Table, column: str, value: str) -> pa.Array:
    found = pc.equal(column_of(table, column).cast(pa.string()), value)
    return pc.fill_null(found, False)


def _mixed(table: pa.Table, patient_key: str, scope: str | None) -> Iterator[str]:
    """Series of several patients: their column names the first of them only."""
    flags = column_of(table, "flags")
    flagged = pc.equal(pc.list_flatten(flags).cast(pa.string()), _MIXED)
    texts = RowTexts(table)
    for row in pc.list_parent_indices(flags).filter(flagged).to_pylist():
        facts = texts.facts(row)
        if facts is None or patient_key not in facts["patient_keys"]:
            continue
        if scope is None or facts["scope"] == scope:
            yield str(table.column("seriesKey")[row].as_py())


def _instances(
    stores: Stores,
    text: str,
    fits: Callable[[dict[str, object]], bool],
    scope: str | None = None,
) -> Iterator[str]:
    """Series of instance rows whose facts fit; `text` is in every row that may."""
    for row in stores.instances.scan():
        if row.key == MARKER or text not in row.values["facts"]:
            continue
        if fits(json.loads(row.values["facts"])) and scope in (None, row.values["scope"]):
            yield row.partition
