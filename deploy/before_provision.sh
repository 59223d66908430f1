#!/bin/sh
# Before `azd provision`: refuses what could not be undone. azd puts its environment into ours.
set -eu

refuse() {
	echo "before_provision: $1" >&2
	exit 1
}

asked() {
	az "$@" --subscription "$AZURE_SUBSCRIPTION_ID" --output tsv
}

for name in AZURE_ENV_NAME AZURE_LOCATION AZURE_SUBSCRIPTION_ID; do
	eval "test -n \"\${$name:-}\"" || refuse "$name is not set: azd env set $name ..."
done
case "${BUDGET_START:-}" in
[0-9][0-9][0-9][0-9]-[01][0-9]-01) ;;
"") refuse "BUDGET_START is not set, and no later deployment may change it: azd env refresh, or the first time azd env set BUDGET_START \$(date +%Y-%m-01)" ;;
*) refuse "BUDGET_START is the first day of a month, as 2027-02-01" ;;
esac
if test "${DICOM_NETWORK:-}" != public && test -z "${INDEXER_PROJECTS+set}"; then
	refuse "INDEXER_PROJECTS is not set: it says who may see what; azd env set INDEXER_PROJECTS \"\" lets every caller see everything"
fi

group="rg-$AZURE_ENV_NAME"
networks="" vault=""
exists=$(asked group exists --name "$group") || refuse "az does not tell whether there is a group $group: az login"
if test "$exists" = true; then
	networks=$(asked resource list --resource-group "$group" --query "[].id" \
		--resource-type Microsoft.Network/virtualNetworks)
	vault=$(asked resource list --resource-group "$group" --query "[?starts_with(name, 'kv-')].id" \
		--resource-type Microsoft.KeyVault/vaults)
fi
if test "${DICOM_NETWORK:-}" = public && { test "${IS_PRIVATE:-}" = true || test -n "$networks"; }; then
	refuse "$AZURE_ENV_NAME is private and does not become public: take another environment, or unset DICOM_NETWORK"
fi
# Of a secret that this is only asked whether it is there: its value is for the programs alone.
if test -z "${PATIENT_KEY:-}" && { test -z "$vault" || ! az resource show --output none --query id \
	--ids "$vault/secrets/patient-hash-key" --api-version 2025-05-01 2>/dev/null; }; then
	refuse "PATIENT_KEY is empty, and the vault shows no key: the first time azd env set PATIENT_KEY \$(openssl rand -base64 32)"
fi
