"""``python -m infra.check``: check the templates, and say what is wrong."""

import sys
from pathlib import Path

from indexer_core.errors import IndexerError
from infra.check.kql import has_parser
from infra.check.rules import find_problems, page_problems
from infra.check.scenarios import PLANS, read_files
from infra.check.type_data import VARIABLE, find_type_data

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "operations.md"


def main() -> int:
    """The exit status: 0 where nothing is wrong, 2 where that could not be found out."""
    try:
        return _check()
    except IndexerError as error:
        print(f"infra.check: {error}", file=sys.stderr)
        return 2


def _check() -> int:
    files = read_files()
    type_data = find_type_data(ROOT)
    problems = find_problems(files, type_data)
    for problem in problems:
        print(f"infra/bicep/{problem}")
    of_page = page_problems(PAGE.read_text(encoding="utf-8"))
    for text in of_page:
        print(f"{PAGE.relative_to(ROOT)}: {text}")
    n_templates = sum(path.endswith(".bicep") for path in files)
    n_problems = len(problems) + len(of_page)
    print(
        f"{n_templates} templates, {len(PLANS)} deployments, {n_problems} problems. "
        "This is not `bicep build`: see docs/adr/0038-templates-without-a-compiler.md."
    )
    if type_data is None:
        print(f"Types and properties were NOT checked: no type data (set {VARIABLE} to its file).")
    if not has_parser():
        print("Queries were NOT parsed: no parser of KQL (make tools installs it, where npm is).")
    return 1 if problems or of_page else 0


if __name__ == "__main__":
    sys.exit(main())
