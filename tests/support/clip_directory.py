"""Folders as BiomedCLIP's hub repository is one, with weights that nobody trained.

`architecture` is ``tiny`` (for tests) or ``full`` (the true sizes: 110 and 86 million parameters).
"""

import json
from pathlib import Path

from gpu_worker.encoders.minilm import find_minilm
from gpu_worker.encoders.torchvision_workaround import mend_torchvision

BIOMEDBERT = "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract"
PREPROCESS = {
    "mean": [0.48145466, 0.4578275, 0.40821073],
    "std": [0.26862954, 0.26130258, 0.27577711],
}
_VISION = {
    "tiny": {"layers": 1, "width": 64, "head_width": 32, "patch_size": 16, "image_size": 32},
    "full": {
        "timm_model_name": "vit_base_patch16_224",
        "timm_model_pretrained": False,
        "timm_pool": "",
        "timm_proj": "linear",
        "image_size": 224,
    },
}
_BERT = {
    "tiny": {
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 128,
    },
    "full": {},
}


def make_clip_directory(
    folder: Path, architecture: str = "tiny", *, seed: int = 0, trained: bool = True
) -> Path:
    """Make the folder; `trained`: moved away from where a training begins, as a real one would be.

    The tokeniser is that of the MiniLM package: BERT's uncased vocabulary, 30522 tokens.
    """
    mend_torchvision()
    import open_clip
    import torch
    from transformers import BertConfig

    folder.mkdir(parents=True)
    bert = folder / "bert"
    BertConfig(**_BERT[architecture]).save_pretrained(bert)
    config = {
        "model_cfg": {
            "embed_dim": 512 if architecture == "full" else 32,
            "vision_cfg": _VISION[architecture],
            "text_cfg": {
                "hf_model_name": str(bert),
                "hf_tokenizer_name": BIOMEDBERT,
                "hf_proj_type": "mlp",
                "hf_pooler_type": "cls_last_hidden_state_pooler",
                "context_length": 256,
            },
        },
        "preprocess_cfg": PREPROCESS,
    }
    path = folder / "open_clip_config.json"
    path.write_text(json.dumps(config))
    torch.manual_seed(seed)
    model = open_clip.create_model(f"local-dir:{folder}", pretrained_text=False)
    if trained:
        with torch.no_grad():
            for module in model.modules():
                if isinstance(module, torch.nn.LayerNorm):
                    module.weight.add_(0.1 * torch.randn_like(module.weight))
                    module.bias.add_(0.1 * torch.randn_like(module.bias))
    torch.save(model.state_dict(), folder / "open_clip_pytorch_model.bin")
    config["model_cfg"]["text_cfg"]["hf_model_name"] = BIOMEDBERT
    path.write_text(json.dumps(config))
    if architecture == "tiny":
        (bert / "config.json").rename(folder / "text_config.json")
    else:
        (bert / "config.json").unlink()
    bert.rmdir()
    (folder / "tokenizer.json").write_bytes((find_minilm() / "tokenizer.json").read_bytes())
    return folder
