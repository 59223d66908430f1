"""Importing torchvision beside a build of torch that it was not made for.

The standard torchvision wheel is linked against CUDA. Beside a CPU build of torch its compiled half
does not load, silently, and then ``import torchvision`` fails because the operator ``nms`` is
unknown (pytorch/vision#9077, #9085). open_clip imports torchvision for its image transforms, which
need no compiled operator: so the two operators that torchvision's own Python code looks up are
declared without an implementation. Calling them still fails; nothing here does.

This module can go when torchvision imports without its compiled half.
"""

import sys
from importlib import import_module
from importlib.util import find_spec
from threading import Lock

import torch

from indexer_core.errors import InvalidInputError

_OPERATORS = ("nms", "qnms")
_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_lock = Lock()
# The declarations last as long as this object does.
_declared: list[torch.library.Library] = []


def mend_torchvision() -> None:
    """Make `torchvision` importable for others from now on; nothing where it is not installed.

    To be called before transformers, timm or open_clip are imported: all of them import it where
    it is there.

    Raises
    ------
    InvalidInputError
        It fails for another reason than the missing operators.
    """
    if find_spec("torchvision") is None:
        return
    with _lock:
        try:
            import_module("torchvision")
        except RuntimeError as error:
            if _declared or "operator torchvision::" not in str(error):
                raise InvalidInputError(
                    "torchvision cannot be imported beside this build of torch: "
                    "install the version that belongs to it"
                ) from error
        else:
            return
        _forget_half_imported()
        library = torch.library.Library("torchvision", "DEF")
        for operator in _OPERATORS:
            library.define(f"{operator}{_SCHEMA}")
        _declared.append(library)
        import_module("torchvision")


def _forget_half_imported() -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
