"""``python -m infra.check``: check the templates, and say what is wrong."""

import sys
from pathlib import Path

from infra.check.rules import find_problems
from infra.check.scenarios import PLANS, read_files
from infra.check.type_data import VARIABLE, find_type_data

ROOT = Path(__file__).parents[2]


def main() -> int:
    """The exit status: 0 where nothing is wrong."""
    files = read_files()
    type_data = find_type_data(ROOT)
    problems = find_problems(files, type_data)
    for problem in problems:
        print(f"infra/bicep/{problem}")
    n_templates = sum(path.endswith(".bicep") for path in files)
    print(
        f"{n_templates} templates, {len(PLANS)} deployments, {len(problems)} problems. "
        "This is not `bicep build`: see docs/adr/0035-azure-by-bicep.md."
    )
    if type_data is None:
        print(f"Types and properties were NOT checked: no type data (set {VARIABLE} to its file).")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
