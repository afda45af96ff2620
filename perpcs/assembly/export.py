"""A person as a standard LoRA adapter, for programs that know peft and do not know this one.

What a person adds at a position is one low-rank product, whoever its pieces came from:

    s * sum_s w_s B_s A_s = B A      A (q, n): the A_s one below the other      B (d, q): the s w_s B_s side by side

q = r times the sharers with weight there, and one more where the person has a piece of their own. Nothing is lost that
way. Where q is more than the layer can use, min(n, d), or more than the rank that was asked for, the best product of
that rank takes its place; a QR of either factor leaves a small matrix between them, and the SVD of that one gives it.

peft multiplies B A by alpha / r: alpha is the rank at every position, so the factor is 1 and s stands in B.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import save
from torch import Tensor, nn

from perpcs.assembly.descent import own_piece
from perpcs.assembly.record import Assembly
from perpcs.errors import PerpcsError
from perpcs.files import cannot_write, json_bytes, new_beside, put_in_place, write_together
from perpcs.model.base import BaseModel, save_plain
from perpcs.model.basis import Bottlenecks, Factors, OwnPiece, Pieces, PrefixPieces, Scalings
from perpcs.pool.manifest import Manifest
from perpcs.pool.store import Pool, TaskPieces

CONFIG = "adapter_config.json"
TENSORS = "adapter_model.safetensors"


@dataclass(frozen=True)
class Adapter:
    """A person as files that peft reads. P positions."""

    files: dict[str, bytes]
    """Name -> contents: adapter_config.json and adapter_model.safetensors."""
    ranks: tuple[int, ...]
    """Rank at each position, (P,); 0 where the person has no weight and the adapter leaves the layer alone."""
    errors: tuple[float, ...]
    """At each position |update - kept| / |update|, Frobenius norms, (P,): 0 = nothing was cut off."""
    error: float
    """The same over all positions together."""

    @property
    def bytes(self) -> int:
        return sum(map(len, self.files.values()))

    def save(self, folder: Path) -> None:
        """Write the files together; an adapter that lies in the folder is replaced.

        Raises:
            PerpcsError: when the folder cannot be written.
        """
        write_together(folder, {TENSORS: self.files[TENSORS], CONFIG: self.files[CONFIG]})


class Product(NamedTuple):
    """The product B A and what was cut off to get it, float64."""

    A: Tensor
    """(q, n)."""
    B: Tensor
    """(d, q)."""
    cut: float
    """Frobenius norm of what was cut off."""


def make_adapter(base: BaseModel, pool: Pool, assembly: Assembly, rank: int | None = None) -> Adapter:
    """A person as peft reads one.

    Args:
        base: the pool's base model; only its layers are looked at.
        assembly: a person of this pool; ``Engine.export`` checks that.
        rank: the most at any position; None = as much as it takes to lose nothing.

    Raises:
        PerpcsError: when the rank is below 1, or the person has no weight at all.
    """
    return adapter_of(base, pool, assembly.task, assembly.weights, own_piece(assembly.own, base.positions), rank)


def adapter_of(
    base: BaseModel,
    pool: Pool,
    task_name: str,
    weights: np.ndarray | None,
    own: OwnPiece | None,
    rank: int | None = None,
) -> Adapter:
    """The same for whatever a row carries: weights (P, S) of the pool's pieces, a piece of its own, or both.

    Raises:
        PerpcsError: as above.
    """
    if rank is not None and rank < 1:
        raise PerpcsError(f"rank is {rank}.", "Use a whole number of at least 1, or leave it out to lose nothing.")
    task = pool.pieces(task_name, "cpu", torch.float32)  # as stored: a model in half precision would round them
    if weights is None:
        weights = np.zeros((len(base.positions), task.pieces.sharers))
    w = torch.from_numpy(weights.astype(np.float64)) * task.mask
    if pool.manifest.kind in ("adapter", "prefix"):
        raise _no_kind(pool.manifest.kind)
    if pool.manifest.kind == "ia3":
        return _scaling_adapter(base, pool, task.pieces, w, own, rank)
    wholes = [concatenate(task.pieces, p, w[p], own) for p in range(len(w))]
    if not any(wholes):
        raise _nothing()
    parts = [whole and nearest(whole, rank) for whole in wholes]
    kept = {position.path: part for position, part in zip(base.positions, parts, strict=True) if part}
    norms = torch.tensor([norm(whole) if whole else 0.0 for whole in wholes], dtype=torch.float64)
    cuts = torch.tensor([part.cut if part else 0.0 for part in parts], dtype=torch.float64)
    tensors = {
        f"base_model.model.{name}.lora_{letter}.weight": tensor
        for name, product in kept.items()
        for letter, tensor in (("A", product.A), ("B", product.B))
    }
    return Adapter(
        files=_files(adapter_config(pool.manifest, kept, _keeps_transposed(base)), tensors),
        ranks=tuple(len(part.A) if part else 0 for part in parts),
        errors=tuple((cuts / norms).nan_to_num().tolist()),  # 0 / 0 where there is no update
        error=(cuts.norm() / norms.norm()).nan_to_num().item(),
    )


def _scaling_adapter(
    base: BaseModel, pool: Pool, pieces: Pieces, weights: Tensor, own: OwnPiece | None, rank: int | None
) -> Adapter:
    """The same for (IA)3 pieces: one vector a position, by which peft multiplies the layer's output."""
    if rank is not None or (own is not None and any(map(len, own.A))):
        raise PerpcsError(
            "Scaling vectors have no rank to cut, and no room for a low-rank piece of one's own.",
            "Leave the rank out, and assemble the person with another router than fit+own.",
        )
    kept = {
        position.path: 1
        + pieces.Bt[p][:, 0].double().T @ weights[p]
        + (0 if own is None else own.scale * own.Bt[p][0].double())
        for p, position in enumerate(base.positions)
        if weights[p].any() or own is not None
    }
    if not kept:
        raise _nothing()
    config = {
        "peft_type": "IA3",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": pool.manifest.base,
        "inference_mode": True,
        "fan_in_fan_out": _keeps_transposed(base),
        "target_modules": list(kept),
        "feedforward_modules": [],
    }
    tensors = {f"base_model.model.{name}.ia3_l": vector[:, None] for name, vector in kept.items()}
    ranks = tuple(int(position.path in kept) for position in base.positions)
    return Adapter(_files(config, tensors), ranks, errors=(0.0,) * len(ranks), error=0.0)


def _files(config: dict[str, Any], tensors: dict[str, Tensor]) -> dict[str, bytes]:
    """Both files, tensors in float32."""
    plain = {name: tensor.float().contiguous() for name, tensor in tensors.items()}
    # One fact only beside the tensors: safetensors writes several in any order.
    return {CONFIG: json_bytes(config), TENSORS: save(plain, {"format": "pt"})}


def refuse_inside(pool: Pool, folder: Path) -> None:
    """Make sure that a folder is no part of the pool: beside a model's files an adapter would become part of it.

    Raises:
        PerpcsError: when it is.
    """
    if folder.resolve().is_relative_to(pool.folder.resolve()):
        raise PerpcsError(f"{folder} lies inside the pool.", "Choose a folder of its own for the adapter.")


def save_base(base: BaseModel, folder: Path) -> None:
    """Write a base model in Hugging Face format, whole or not at all, in the place of an older one.

    Raises:
        PerpcsError: when the folder cannot be written.
    """
    try:
        made = new_beside(folder)
        try:
            save_plain(base, made)
            put_in_place(made, folder)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    except SafetensorError as error:
        raise PerpcsError(f"Cannot write {folder}: {error}.", "Choose a folder with more space.") from error


def _nothing() -> PerpcsError:
    return PerpcsError(
        "This person has no weight on any piece, so there is nothing to export.",
        "Use the base model as it is, or assemble the person again from a longer history.",
    )


# ---- products ------------------------------------------------------------------------------------------------------


def concatenate(pieces: Pieces, position: int, w: Tensor, own: OwnPiece | None = None) -> Product | None:
    """The update of weights w (S,) and of an own piece as one product, r columns for each sharer with weight; None
    without any.
    """
    factors = pieces.shared(position, w[None])
    A, B = [], []
    if isinstance(factors, Factors):
        A.append(factors.A.double())
        B.append(factors.Bt.double().mT * factors.c[0].double())
    if own is not None:
        A.append(own.A[position].to(w.device).double())
        B.append(own.Bt[position].to(w.device).double().mT * own.scale)
    return Product(torch.cat(A), torch.cat(B, dim=1), 0.0) if A else None


def nearest(product: Product, rank: int | None = None) -> Product:
    """The nearest product of at most ``rank``, and never of more than the layer can use; itself if it is small."""
    (q, n), d = product.A.shape, len(product.B)
    most = min(n, d) if rank is None else min(n, d, rank)
    if q <= most:
        return product
    right, right_triangle = torch.linalg.qr(product.A.mT)  # (n, a), (a, q) with a = min(n, q)
    left, left_triangle = torch.linalg.qr(product.B)  # (d, b), (b, q) with b = min(d, q)
    U, values, Vh = torch.linalg.svd(left_triangle @ right_triangle.mT, full_matrices=False)
    root = values[:most].sqrt()  # half to either factor, so that both are of one size
    A = (root[:, None] * Vh[:most]) @ right.mT
    B = left @ (U[:, :most] * root)
    return Product(A, B, values[most:].norm().item())


def norm(product: Product) -> float:
    """Frobenius norm of B A, from the triangles of both factors; the matrix (d, n) is not made where they are thin."""
    left, right = (torch.linalg.qr(thin, mode="r").R for thin in (product.B, product.A.mT))
    return (left @ right.mT).norm().item()


def update_norms(base: BaseModel, task: TaskPieces, assembly: Assembly) -> np.ndarray:
    """How large the person's update is beside the layer it is added to: |sum_s w_s B_s A_s| / |W| at each position,
    (P,), Frobenius norms, s and an own piece included.

    Of bottleneck adapters it is that of the two matrices without the GELU between them, of prefixes that of values
    times keys: sizes to compare layers by, without an own piece.
    """
    weights = torch.from_numpy(assembly.weights.astype(np.float64)) * task.mask.cpu()
    linear = not isinstance(task.pieces, Bottlenecks | PrefixPieces)
    own = own_piece(assembly.own, base.positions) if linear else None
    out = np.zeros(len(base.positions))
    for p, position in enumerate(base.positions):
        layer: Any = base.model.get_submodule(position.path).base
        matrix = layer.weight.detach().double()
        if isinstance(task.pieces, Scalings):  # y * (1 + v) changes W to W + diag(v) W
            v = weights[p].to(matrix.device) @ task.pieces.Bt[p][:, 0].double()
            size = (v[:, None] * (matrix if isinstance(layer, nn.Linear) else matrix.T)).norm().item()
        elif not linear:
            A, Bt = task.pieces.A[p].double(), task.pieces.Bt[p].double() * weights[p].to(matrix.device)[:, None, None]
            size = norm(Product(A.flatten(0, 1), Bt.flatten(0, 1).mT, 0.0))
        else:
            product = concatenate(task.pieces, p, weights[p].to(matrix.device), own)
            size = 0.0 if product is None else norm(product)
        out[p] = size / max(matrix.norm().item(), 1e-12)
    return out


def _no_kind(kind: str) -> PerpcsError:
    says = {
        "adapter": "peft has no bottleneck adapters, which this pool's pieces are.",
        "prefix": "A mix of several people's prefixes is not one prefix, and peft holds one.",
    }
    return PerpcsError(says[kind], "Save the person instead; pools of the kinds lora and ia3 can be exported.")


# ---- files ---------------------------------------------------------------------------------------------------------


def adapter_config(manifest: Manifest, kept: dict[str, Product], transposed: bool) -> dict[str, Any]:
    """What peft has to know, by module path; ranks stand in the pattern where they are not the largest one."""
    ranks = {name: len(product.A) for name, product in kept.items()}
    top = max(ranks.values())
    pattern = {name: rank for name, rank in ranks.items() if rank != top}
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": manifest.base,  # a name, or the folder inside the pool: no path of this machine
        "inference_mode": True,
        "r": top,
        "lora_alpha": top,
        "lora_dropout": 0.0,
        "bias": "none",
        "use_rslora": False,
        "fan_in_fan_out": transposed,
        "target_modules": list(ranks),
        "rank_pattern": pattern,
        "alpha_pattern": pattern,
    }


def _keeps_transposed(base: BaseModel) -> bool:
    """Whether adapted layers keep their weight as (inputs, outputs), as GPT-2's Conv1D does."""
    return not all(isinstance(base.model.get_submodule(position.path).base, nn.Linear) for position in base.positions)
