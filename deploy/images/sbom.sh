#!/bin/sh
# sbom.sh NAME VERSION PYTHON FILE: what is installed for a Python, as CycloneDX 1.6 in JSON, which is checked
# by its schema. NAME and VERSION are of what it is in. Run it where constraints.txt is.
#   TOOL         a folder in which the tool is kept; else it is gone afterwards
#   TOOL_PYTHON  the Python that the tool is installed for: python3
set -eu
name=$1
version=$2
python=$3
file=$4
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
tool=${TOOL:-$scratch/tool}
test -x "$tool/bin/python" || "${TOOL_PYTHON:-python3}" -m venv "$tool"
"$tool/bin/python" -m pip --disable-pip-version-check install --quiet --no-input \
	--constraint constraints.txt cyclonedx-bom
printf '[project]\nname = "%s"\nversion = "%s"\n' "$name" "$version" >"$scratch/pyproject.toml"
mkdir -p "$(dirname "$file")"
# What is needed directly is in no environment, so that the graph begins below the root; it would warn.
PYTHONWARNINGS=ignore "$tool/bin/cyclonedx-py" environment --pyproject "$scratch/pyproject.toml" --mc-type application \
	--spec-version 1.6 --output-format JSON --output-reproducible --validate \
	--output-file "$file" "$python"
