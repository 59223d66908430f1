#!/bin/sh
# After `azd deploy`: has the new app index a file, find it and lose it. azd puts the outputs of the
# templates into the environment.
set -eu
cd "$(dirname "$0")/.."
if test -z "${API_ENDPOINT:-}" || test -z "${FILES_ACCOUNT:-}" || test -z "${FILES_CONTAINER:-}"; then
	echo "after_deploy: API_ENDPOINT, FILES_ACCOUNT and FILES_CONTAINER are not set: azd env get-values" >&2
	exit 1
fi
if test -z "${SERVICE_WORKER_IMAGE_NAME:-}" && test "${DICOM_INDEXER_SMOKE:-}" != on; then
	echo "after_deploy: not tried, for there is no worker yet (SERVICE_WORKER_IMAGE_NAME);"
	echo "after_deploy: where one runs elsewhere, azd env set DICOM_INDEXER_SMOKE on"
	exit 0
fi
if test -z "${DICOM_INDEXER_TOKEN:-}${DICOM_INDEXER_KEY:-}" && test -n "${ENTRA_CLIENT_ID:-}"; then
	DICOM_INDEXER_TOKEN=$(az account get-access-token \
		--resource "api://$ENTRA_CLIENT_ID" --query accessToken --output tsv)
	export DICOM_INDEXER_TOKEN
fi
exec "${DICOM_INDEXER:-.venv/bin/dicom-indexer}" smoke \
	--endpoint "$API_ENDPOINT" --inbox "$FILES_ACCOUNT/$FILES_CONTAINER" --wait "${DICOM_INDEXER_SMOKE_S:-900}"
