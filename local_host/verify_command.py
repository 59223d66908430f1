"""`verify`: prove the index; with `--repair` mend it first."""

import argparse
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from indexer_core.errors import CorruptIndexError
from local_host import output
from local_host.opening import known_data, reading, writing
from local_host.settings import Settings

if TYPE_CHECKING:
    from indexer_core.index.repair_report import RepairReport
    from indexer_core.index.verify import Verification
    from local_host.runner import Tally


def run_verify(options: argparse.Namespace, settings: Settings) -> int:
    """Prove the index, or the GPU."""
    from indexer_core.index.verify import verify

    if options.gpu:
        from indexer_core.adapters.faiss_vectors.bulk import self_test

        print(self_test())
        return 0
    as_json = options.format == "json"
    if options.repair:
        return _repair(settings, as_json=as_json)
    system = reading(settings)
    seen = verify(system.index, system.vector_files)
    if as_json:
        print(json.dumps(asdict(seen), indent=2))
    else:
        _print_verification(seen)
    return 0 if not seen.problems else 1


def _repair(settings: Settings, *, as_json: bool) -> int:
    from indexer_core.index.verify import verify
    from indexer_core.repair import repair
    from local_host.runner import Runner

    known_data(settings).close()
    with writing(settings) as system:
        try:
            report = repair(
                system.stores,
                assembly=system.assembly,
                vector_files=system.vector_files,
                find_encoder=system.encoders.find,
            )
        except CorruptIndexError as error:
            print(f"dicom-indexer: {error}", file=sys.stderr)
            return 1
        tally: Tally | None = None
        if settings.azure is None:
            # The files are here, and so is whoever reads them.
            runner = Runner(system, output.progress())
            runner.reclaim()
            tally = runner.run_until_idle()
        seen = verify(system.index, system.vector_files)
    if as_json:
        said: dict[str, Any] = {"repair": asdict(report), "verify": asdict(seen)}
        print(json.dumps(said, indent=2))
    else:
        _print_repair(report, tally)
        _print_verification(seen)
    return 0 if not seen.problems and (tally is None or tally.went_well) else 1


def _print_repair(report: "RepairReport", tally: "Tally | None") -> None:
    if report.did_nothing:
        print("nothing to repair")
        return
    for line in report.restored:
        print(f"mended: {line}")
    for loss in report.lost:
        print(f"lost: {loss.what}")
        print(f"      {loss.how}")
    if report.n_rearmed:
        print(f"{report.n_rearmed:,} series are indexed again")
    if tally is not None:
        for reason, count in tally.failures.items():
            print(f"failed: {reason} ({count:,})")
    if report.set_aside:
        folder = "/".join(report.set_aside[0].split("/", 2)[:2])
        print(f"{len(report.set_aside):,} damaged files are kept in {folder}; delete it at will")


def _print_verification(seen: "Verification") -> None:
    if seen.problems:
        print(f"{len(seen.problems):,} problem{'s' if len(seen.problems) > 1 else ''}")
    else:
        print(
            f"{seen.n_manifests} manifests, {seen.n_files} files, {seen.n_series} series: "
            "every checksum fits"
        )
        print(f"{seen.n_searches} searches equal brute force")
    print(f"{len(seen.orphans)} orphan files (left by interrupted runs, harmless)")
    for problem in seen.problems:
        print(f"  {problem}", file=sys.stderr)
