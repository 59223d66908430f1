"""The command `audit`: who asked what kind of question over HTTP."""

import argparse
import json
from dataclasses import asdict

from indexer_core.audit import AuditRows
from local_host.opening import known_data
from local_host.settings import Settings


def run_audit(options: argparse.Namespace, settings: Settings) -> int:
    """Print every record, oldest first, one JSON object a line."""
    del options
    system = known_data(settings)
    for record in AuditRows(system.stores.audit, system.ids).all():
        print(json.dumps(asdict(record)))
    return 0
