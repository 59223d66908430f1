"""Folders of MLflow models as MedImageInsight's is one, with small weights that nobody trained.

As the publisher lays it out: a pickled wrapper class, its code beside it, weights below
``artifacts``. The wrapper takes the table of pictures and texts, one object per row is its answer.
"""

import textwrap
import warnings
from pathlib import Path

DIMENSION = 24

WRAPPER = '''
"""A wrapper as the publisher's: pictures as base64, texts, features with a leading dimension."""

import base64
import io

import mlflow
import numpy as np
import torch
from PIL import Image


class Tower(torch.nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.norm = torch.nn.LayerNorm(n_in)
        self.proj = torch.nn.Linear(n_in, n_out)

    def forward(self, x):
        return torch.nn.functional.normalize(self.proj(self.norm(x)), dim=-1)


class Small(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.image = Tower(64, {dimension})
        self.text = Tower(64, {dimension})
        self.logit_scale = torch.nn.Parameter(torch.tensor(4.516357))


class SmallWrapper(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        self.model = Small().eval()
        folder = context.artifacts["model_dir"]
        weights = torch.load(folder + "/vision_model/small-v1.pt", weights_only=True)
        self.model.load_state_dict(weights)

    def predict(self, context, model_input, params=None):
        rows = []
        for image, text in zip(model_input["image"], model_input["text"]):
            row = {{}}
            with torch.no_grad():
                if image:
                    with Image.open(io.BytesIO(base64.b64decode(image))) as picture:
                        grey = np.asarray(picture.convert("L").resize((8, 8)), np.float32)
                    row["image_features"] = self.model.image(
                        torch.from_numpy(grey.reshape(1, 64) / 255)).numpy()
                if text:
                    codes = np.zeros(64, np.float32)
                    for place, letter in enumerate(text.encode()[:64]):
                        codes[place] = letter / 128
                    row["text_features"] = self.model.text(torch.from_numpy(codes[None])).numpy()
            if params and params.get("get_scaling_factor"):
                row["scaling_factor"] = np.array([self.model.logit_scale.item()])
            rows.append(row)
        return rows
'''


def make_mlflow_directory(folder: Path, *, trained: bool = True, seed: int = 0) -> Path:
    """Make the folder; `trained`: moved away from where a training begins, as real ones are."""
    import sys

    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow.pyfunc
        from mlflow.models import ModelSignature
        from mlflow.types.schema import ColSpec, ParamSchema, ParamSpec, Schema

    code = folder.parent / f"{folder.name}_small_wrapper_{seed}.py"
    code.write_text(textwrap.dedent(WRAPPER.format(dimension=DIMENSION)))
    sys.path.insert(0, str(code.parent))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wrapper = __import__(code.stem)
    finally:
        sys.path.remove(str(code.parent))
    torch.manual_seed(seed)
    model = wrapper.Small()
    if trained:
        with torch.no_grad():
            for module in model.modules():
                if isinstance(module, torch.nn.LayerNorm):
                    module.weight.add_(0.1 * torch.randn_like(module.weight))
                    module.bias.add_(0.1 * torch.randn_like(module.bias))
    weights = folder.parent / f"{folder.name}-weights"
    (weights / "vision_model").mkdir(parents=True)
    torch.save(model.state_dict(), weights / "vision_model" / "small-v1.pt")
    signature = ModelSignature(
        inputs=Schema([ColSpec("string", "image"), ColSpec("string", "text")]),
        params=ParamSchema([ParamSpec("get_scaling_factor", "boolean", True)]),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.pyfunc.save_model(
            str(folder),
            python_model=wrapper.SmallWrapper(),
            artifacts={"model_dir": str(weights)},
            code_paths=[str(code)],
            signature=signature,
            pip_requirements=["torch"],
        )
    return folder
