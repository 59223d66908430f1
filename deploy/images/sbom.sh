#!/bin/sh
# sbom.sh NAME VERSION PYTHON FILE: what is installed for a Python, as CycloneDX 1.6 in JSON, which is checked
# by its schema. NAME and VERSION are of what it is in. Run it where constraints.txt is.
#   TOOL_PYTHON  the Python that the tool is installed for: python3
set -eu
name=$1
version=$2
python=$3
file=$4
tool=$(mktemp -d)
trap 'rm -rf "$tool"' EXIT
"${TOOL_PYTHON:-python3}" -m venv "$tool/venv"
"$tool/venv/bin/python" -m pip --disable-pip-version-check install --quiet --no-input \
	--constraint constraints.txt cyclonedx-bom
printf '[project]\nname = "%s"\nversion = "%s"\n' "$name" "$version" >"$tool/pyproject.toml"
mkdir -p "$(dirname "$file")"
"$tool/venv/bin/cyclonedx-py" environment --pyproject "$tool/pyproject.toml" --mc-type application \
	--spec-version 1.6 --output-format JSON --output-reproducible --validate \
	--output-file "$file" "$python"
