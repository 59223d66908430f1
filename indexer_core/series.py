"""Instance facts to series facts: value sets and counts, nothing averaged away."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from indexer_core import geometry
from indexer_core.facts import InstanceFacts, SeriesFacts, Value
from indexer_core.uids import instance_key

MAX_DISTINCT = 16
# Different in every instance by nature, hence no fact about a series.
_PER_INSTANCE = frozenset(("InstanceNumber", "FramesPerOrientation", "FrameGaps"))
_LENGTH_OF_ORIENTATION = 6

_Entry = tuple[str, InstanceFacts]


def aggregate(scope: str, instances: Sequence[tuple[str, InstanceFacts]]) -> SeriesFacts:
    """One series from the facts of its instances; their order does not matter.

    Parameters
    ----------
    scope
        Container or prefix the series lies in.
    instances
        URL of the blob and facts of each instance, of one series; at least one.

    Raises
    ------
    ValueError
        No instances.
    """
    if not instances:
        raise ValueError("a series has at least one instance")
    used = _used(instances)
    facts = [one for _, one in used]
    attributes = _attributes(facts)
    patient_keys = tuple(sorted({one.patient_key for one in facts if one.patient_key}))
    planes = _planes(facts)
    n_slice_gaps = _n_slice_gaps(facts)
    series = SeriesFacts(
        scope=scope,
        series_instance_uid=min(one.series_instance_uid for one in facts),
        study_instance_uid=min(one.study_instance_uid for one in facts),
        instances=len(facts),
        frames=sum(one.frames for one in facts),
        has_pixels=any(one.has_pixels for one in facts),
        attributes=attributes,
        planes=planes,
        patient_keys=patient_keys,
        n_slice_gaps=n_slice_gaps,
    )
    flags = {flag for one in facts for flag in one.flags} | _conflicts(series, facts)
    if len(used) < len(instances):
        flags.add("duplicateInstances")
    return replace(series, flags=tuple(sorted(flags)))


def _used(instances: Iterable[_Entry]) -> list[_Entry]:
    """Instances by key of their blob, the first of those that share a SOP Instance UID."""
    used: dict[str, _Entry] = {}
    for entry in sorted(instances, key=lambda entry: instance_key(entry[0])):
        used.setdefault(entry[1].sop_instance_uid, entry)
    return list(used.values())


def _attributes(facts: Sequence[InstanceFacts]) -> dict[str, tuple[tuple[Value, int], ...]]:
    """Distinct values with their counts; the SOP class and transfer syntax are among them."""
    counts: dict[str, Counter[Value]] = {}
    for one in facts:
        shown = {
            "SOPClassUID": one.sop_class_uid,
            "TransferSyntaxUID": one.transfer_syntax_uid,
            **one.attributes,
        }
        for keyword, value in shown.items():
            if keyword not in _PER_INSTANCE and value not in ("", ()):
                counts.setdefault(keyword, Counter())[value] += 1
    return {keyword: _most_frequent(counts[keyword]) for keyword in sorted(counts)}


def _most_frequent(counted: Counter[Value]) -> tuple[tuple[Value, int], ...]:
    # Values of one keyword may differ in type, so ties are ordered by how they are written.
    ordered = sorted(counted.items(), key=lambda entry: (-entry[1], _sortable(entry[0])))
    return tuple(ordered[:MAX_DISTINCT])


def _sortable(value: Value) -> tuple[bool, float, str]:
    if isinstance(value, int | float):
        return (False, value, "")
    return (True, 0.0, repr(value))


def _orientations(one: InstanceFacts) -> list[tuple[tuple[float, ...], int]]:
    """Orientations of an instance with the number of frames that have each."""
    flat = one.attributes.get("ImageOrientationPatient")
    if not isinstance(flat, tuple):
        return []
    numbers = [float(value) for value in flat]
    groups = [
        tuple(numbers[start : start + _LENGTH_OF_ORIENTATION])
        for start in range(0, len(numbers), _LENGTH_OF_ORIENTATION)
    ]
    counts = one.attributes.get("FramesPerOrientation", 1)
    told = counts if isinstance(counts, tuple) else (counts,)
    return [(group, int(count)) for group, count in zip(groups, told, strict=False)]


def _planes(facts: Iterable[InstanceFacts]) -> dict[str, int]:
    planes: Counter[str] = Counter()
    for one in facts:
        for orientation, count in _orientations(one):
            name = geometry.plane(orientation)
            if name is not None:
                planes[name] += count
    return dict(sorted(planes.items(), key=lambda entry: (-entry[1], entry[0])))


def _n_slice_gaps(facts: Sequence[InstanceFacts]) -> int:
    """Gaps within each orientation, and inside multi-frame instances; else in the numbers."""
    inside = sum(_whole(one.attributes.get("FrameGaps")) for one in facts)
    stacks: list[tuple[geometry.Vector, set[float]]] = []
    for one in facts:
        normals = _normals(one)
        if one.position_mm is not None and normals:
            _stack_of(stacks, normals[0]).add(one.position_mm)
    if stacks:
        return inside + sum(geometry.n_gaps(positions) for _, positions in stacks)
    numbers = {one.attributes.get("InstanceNumber") for one in facts}
    return inside + geometry.n_gaps(value for value in numbers if isinstance(value, int | float))


def _stack_of(
    stacks: list[tuple[geometry.Vector, set[float]]], normal: geometry.Vector
) -> set[float]:
    """Positions of the stack with this normal, begun if there is none."""
    for other, positions in stacks:
        if geometry.angle_degrees(normal, other) <= geometry.SAME_ORIENTATION_DEGREES:
            return positions
    stacks.append((normal, set()))
    return stacks[-1][1]


def _whole(value: Value | None) -> int:
    return value if isinstance(value, int) else 0


def _conflicts(series: SeriesFacts, facts: Sequence[InstanceFacts]) -> set[str]:
    """Flags for what one series should have one of."""
    attributes = series.attributes
    matrices = {(one.attributes.get("Rows"), one.attributes.get("Columns")) for one in facts}
    found = {
        "mixedModality": len(attributes.get("Modality", ())) > 1,
        "mixedSopClass": len(attributes.get("SOPClassUID", ())) > 1,
        "mixedPatient": len(series.patient_keys) > 1,
        "mixedMatrix": len(matrices - {(None, None)}) > 1,
        "mixedOrientation": _differ(facts),
        "sliceGap": series.n_slice_gaps > 0,
    }
    return {flag for flag, is_set in found.items() if is_set}


def _differ(facts: Iterable[InstanceFacts]) -> bool:
    normals = [normal for one in facts for normal in _normals(one)]
    return any(
        geometry.angle_degrees(normals[0], other) > geometry.SAME_ORIENTATION_DEGREES
        for other in normals[1:]
    )


def _normals(one: InstanceFacts) -> list[geometry.Vector]:
    found = (geometry.normal(orientation) for orientation, _ in _orientations(one))
    return [normal for normal in found if normal is not None]
