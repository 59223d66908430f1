#!/bin/sh
# A Python that finds what the package of the Functions app brings along, and nothing else: for sbom.sh.
set -eu
packages=$(cd "$(dirname "$0")/../../build/functions/.python_packages/lib/site-packages" && pwd)
PYTHONPATH=$packages exec "${PYTHON:-python3}" -P -S "$@"
