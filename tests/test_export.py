"""Laws of an exported person: plain peft gives what the shared-basis layer gives, and what is cut off is said.

Tiny pools store half floats and weights are multiples of 1/64, so that float32 holds every product s * w * B exactly
and an exact adapter can be held to float64 tolerances.
"""

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from tiny import FAMILIES, RANK, SHARERS, exact, plain_model, random_ids, random_weights, write_tiny_pool
from torch import Tensor

from perpcs.assembly.export import CONFIG, TENSORS, Adapter, Product, nearest, norm
from perpcs.assembly.record import Assembly
from perpcs.cli import main
from perpcs.errors import PerpcsError
from perpcs.files import zipped
from perpcs.model.base import BaseModel
from perpcs.model.basis import adapted, people
from perpcs.pool.store import Pool
from perpcs.serve.engine import Engine

TASK = "LaMP_4"
EMPTY = 3
"""The position at which nobody has weight."""


def export_adapter(base: BaseModel, pool: Pool, person: Assembly, folder: Path, rank: int | None = None) -> Adapter:
    return Engine(pool, base).export(person, folder, rank)


def person_of(pool: Pool, weights: Tensor) -> Assembly:
    """A person of the pool with weights (P, S), as if assembled from no item."""
    positions, sharers = weights.shape
    return Assembly(
        weights=weights.numpy().astype(np.float32),
        scores=np.zeros((positions, sharers), dtype=np.float32),
        choices=np.zeros((0, positions, 1), dtype=np.int16),
        votes=np.zeros((0, positions, 1), dtype=np.float16),
        task=TASK,
        positions=tuple(position.label for position in pool.manifest.positions),
        sharers=tuple(sharer.id for sharer in pool.sharers(TASK)),
        pool=pool.manifest.name,
        pool_hash=pool.hash,
        router={"router": "fit"},
        user="ada",
    )


def some_weights(base: BaseModel, sharers: int = SHARERS) -> Tensor:
    """Weights (P, S) of either sign, many of them 0, and none at one position."""
    weights = (random_weights(base, 1, sharers)[0] * 64).round() / 64
    weights[EMPTY] = 0
    return weights


@pytest.fixture(scope="module")
def open_pool(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(pool, its base model in true float64): call it with a family and a number of sharers."""
    made: dict[tuple[str, int], tuple[Pool, BaseModel]] = {}

    def opened(family: str = "llama", sharers: int = SHARERS) -> tuple[Pool, BaseModel]:
        key = family, sharers
        if key not in made:
            folder = tmp_path_factory.mktemp(f"{family}-{sharers}") / "pool"
            pool = Pool(write_tiny_pool(folder, family=family, tasks=(TASK,), sharers=sharers, dtype="float16"))
            base = pool.base("cpu", "float64")
            exact(base.model)
            made[key] = pool, base
        return made[key]

    return opened


def logits_of_layer(pool: Pool, base: BaseModel, weights: Tensor, ids: Tensor) -> Tensor:
    pieces = pool.pieces(TASK, "cpu", torch.float64).pieces
    with torch.no_grad(), adapted(people(pieces, weights[None])):
        return base.model(input_ids=ids).logits


def logits_of_peft(pool: Pool, folder: Path, ids: Tensor) -> Tensor:
    """The pool's base model as transformers loads it, with the adapter as peft loads it."""
    from peft import PeftModel

    model = PeftModel.from_pretrained(plain_model(pool.folder / "base"), folder).double().eval()
    with torch.no_grad():
        return model(input_ids=ids).logits


def updates(pool: Pool, weights: Tensor) -> list[Tensor]:
    """The dense update of each position, (d, n), a sharer at a time."""
    pieces = pool.pieces(TASK, "cpu", torch.float64).pieces
    return [
        sum(weights[p, s] * pieces.scale * pieces.Bt[p][s].mT @ pieces.A[p][s] for s in range(weights.shape[1]))
        for p in range(len(weights))
    ]


def written(pool: Pool, folder: Path) -> list[Tensor]:
    """The dense product of each position as it stands in the file; zeros where the position was left out."""
    tensors = load_file(folder / TENSORS)
    products = []
    for position in pool.manifest.positions:
        stem = f"base_model.model.{position.path}"
        if f"{stem}.lora_A.weight" in tensors:
            A, B = (tensors[f"{stem}.lora_{letter}.weight"].double() for letter in "AB")
            products.append(B @ A)
        else:
            products.append(torch.zeros(position.d, position.n, dtype=torch.float64))
    return products


# ---- exact -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_plain_peft_gives_the_logits_of_the_shared_basis_layer(family: str, open_pool: Any, tmp_path: Path) -> None:
    pool, base = open_pool(family)
    weights, ids = some_weights(base), random_ids(base, 2, 20)
    made = export_adapter(base, pool, person_of(pool, weights), tmp_path)
    ours = logits_of_layer(pool, base, weights, ids)
    torch.testing.assert_close(logits_of_peft(pool, tmp_path, ids), ours, atol=1e-9, rtol=1e-9)
    assert not torch.allclose(logits_of_layer(pool, base, torch.zeros_like(weights), ids), ours, atol=1e-2)
    assert made.ranks == tuple(RANK * int(row.count_nonzero()) for row in weights), "as small as the support"
    assert len(set(made.ranks)) > 2, "or the pattern of ranks was not tried"
    assert made.error == 0
    assert set(made.errors) == {0}


def test_no_layer_gets_a_larger_rank_than_it_can_use(open_pool: Any, tmp_path: Path) -> None:
    pool, base = open_pool(sharers=20)
    weights, ids = some_weights(base, 20), random_ids(base, 1, 20)
    made = export_adapter(base, pool, person_of(pool, weights), tmp_path)
    supports = [RANK * int(row.count_nonzero()) for row in weights]
    most = [min(position.n, position.d) for position in base.positions]
    assert any(support > bound for support, bound in zip(supports, most, strict=True))
    assert made.ranks == tuple(map(min, supports, most))
    assert made.error < 1e-12
    ours = logits_of_layer(pool, base, weights, ids)
    torch.testing.assert_close(logits_of_peft(pool, tmp_path, ids), ours, atol=1e-4, rtol=1e-4)


def test_a_position_without_weight_is_left_out(open_pool: Any, tmp_path: Path) -> None:
    pool, base = open_pool()
    weights = torch.zeros_like(some_weights(base))
    weights[1, 2] = 0.5
    made = export_adapter(base, pool, person_of(pool, weights), tmp_path)
    assert made.ranks == tuple(RANK if p == 1 else 0 for p in range(len(base.positions)))
    config, path = json.loads((tmp_path / CONFIG).read_text()), base.positions[1].path
    assert config["target_modules"] == [path]
    assert set(load_file(tmp_path / TENSORS)) == {f"base_model.model.{path}.lora_{letter}.weight" for letter in "AB"}
    ids = random_ids(base, 1, 9)
    ours = logits_of_layer(pool, base, weights, ids)
    torch.testing.assert_close(logits_of_peft(pool, tmp_path, ids), ours, atol=1e-9, rtol=1e-9)


def test_a_deep_model_gets_its_own_rank_at_every_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve layers: peft shortens long lists of modules, and layer 1 must not be taken for layer 11."""
    config = tiny.tiny_config("llama")
    config.num_hidden_layers = 12
    monkeypatch.setattr(tiny, "tiny_config", lambda family: config)
    pool = Pool(write_tiny_pool(tmp_path / "pool", tasks=(TASK,), dtype="float16"))
    base = pool.base("cpu", "float64")
    exact(base.model)
    weights, ids = some_weights(base), random_ids(base, 1, 12)
    made = export_adapter(base, pool, person_of(pool, weights), tmp_path / "out")
    assert len(made.ranks) == 48
    assert 0 in made.ranks
    ours = logits_of_layer(pool, base, weights, ids)
    torch.testing.assert_close(logits_of_peft(pool, tmp_path / "out", ids), ours, atol=1e-9, rtol=1e-9)


def test_a_piece_that_is_not_shared_takes_no_rank(tmp_path: Path) -> None:
    mask = torch.ones(8, SHARERS, dtype=torch.bool)
    mask[2, 1:] = mask[5] = False
    pool = Pool(write_tiny_pool(tmp_path / "pool", tasks=(TASK,), mask=mask))
    base = pool.base("cpu", "float64")
    made = export_adapter(base, pool, person_of(pool, torch.ones(8, SHARERS)), tmp_path / "out")
    assert made.ranks == tuple({2: RANK, 5: 0}.get(p, RANK * SHARERS) for p in range(8))


# ---- of a given rank -------------------------------------------------------------------------------------------------


def relative(found: list[Tensor], true: list[Tensor]) -> tuple[float, tuple[float, ...]]:
    """(over all positions, at each position) |found - true| / |true|; 0 where there is nothing."""
    cuts = [(a - b).norm().item() for a, b in zip(found, true, strict=True)]
    norms = [b.norm().item() for b in true]
    each = tuple(cut / size if size else 0.0 for cut, size in zip(cuts, norms, strict=True))
    return float(np.linalg.norm(cuts) / np.linalg.norm(norms)), each


def test_the_error_that_is_said_is_the_error_of_the_file(open_pool: Any, tmp_path: Path) -> None:
    pool, base = open_pool(sharers=9)
    weights = some_weights(base, 9)
    true, errors = updates(pool, weights), []
    for rank in range(1, 2 * 9 + 1):
        made: Adapter = export_adapter(base, pool, person_of(pool, weights), tmp_path, rank)
        assert max(made.ranks) <= rank
        whole, each = relative(written(pool, tmp_path), true)
        assert made.error == pytest.approx(whole, abs=1e-6)
        assert made.errors == pytest.approx(each, abs=1e-6)
        errors.append(made.error)
    assert errors == sorted(errors, reverse=True), "more rank, never more error"
    assert errors[0] > 0.3
    assert errors[-1] < 1e-6


def test_peft_loads_a_cut_adapter_as_it_was_written(open_pool: Any, tmp_path: Path) -> None:
    pool, base = open_pool("gpt2")
    weights, ids = some_weights(base), random_ids(base, 1, 20)
    export_adapter(base, pool, person_of(pool, weights), tmp_path, rank=3)
    model = plain_model(pool.folder / "base")
    for position, product in zip(base.positions, written(pool, tmp_path), strict=True):
        model.get_submodule(position.path).weight.data += product.T  # Conv1D keeps (inputs, outputs)
    with torch.no_grad():
        merged = model(input_ids=ids).logits
    torch.testing.assert_close(logits_of_peft(pool, tmp_path, ids), merged, atol=1e-9, rtol=1e-9)


sizes = st.integers(1, 8)


@settings(max_examples=60, deadline=None)
@given(q=st.integers(1, 20), n=sizes, d=sizes, rank=st.none() | sizes, seed=st.integers(0, 99))
def test_no_product_of_that_rank_is_nearer(q: int, n: int, d: int, rank: int | None, seed: int) -> None:
    """The Frobenius norm of the singular values beyond the rank is the least there is."""
    generator = torch.Generator().manual_seed(seed)
    A, B = (torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((q, n), (d, q)))
    dense = B @ A
    found = nearest(Product(A, B, 0.0), rank)
    least = torch.linalg.svdvals(dense)[rank:].norm().item() if rank else 0.0
    assert len(found.A) == found.B.shape[1] == min(q, n, d, rank or q)
    assert found.cut == pytest.approx(least, abs=1e-9)
    assert (found.B @ found.A - dense).norm().item() == pytest.approx(least, abs=1e-9)
    assert norm(Product(A, B, 0.0)) == pytest.approx(dense.norm().item(), abs=1e-9)


# ---- files -----------------------------------------------------------------------------------------------------------


def test_two_files_no_pickle_no_path_of_the_machine_and_no_name(open_pool: Any, tmp_path: Path) -> None:
    pool, base = open_pool()
    person = person_of(pool, some_weights(base))
    made = export_adapter(base, pool, person, tmp_path / "deep" / "out", rank=4)
    files = sorted((tmp_path / "deep" / "out").iterdir())
    assert [file.name for file in files] == [CONFIG, TENSORS]
    assert made.bytes == sum(file.stat().st_size for file in files)
    text = files[0].read_text()
    config = json.loads(text)
    assert config["base_model_name_or_path"] == "base", "the folder inside the pool"
    assert config["r"] == config["lora_alpha"] == 4
    assert config["rank_pattern"] == config["alpha_pattern"]
    for word in (str(tmp_path), str(pool.folder), "/", "\\", person.user):
        assert word not in text
    assert all(tensor.dtype == torch.float32 for tensor in load_file(files[1]).values())
    export_adapter(base, pool, person, tmp_path / "again", rank=4)
    assert (tmp_path / "again" / TENSORS).read_bytes() == files[1].read_bytes(), "equal people, equal files"


@pytest.mark.parametrize(("family", "transposed"), [("llama", False), ("gpt2", True)])
def test_the_config_says_how_the_layer_keeps_its_weight(
    family: str, transposed: bool, open_pool: Any, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    pool, base = open_pool(family)
    export_adapter(base, pool, person_of(pool, some_weights(base)), tmp_path)
    assert json.loads((tmp_path / CONFIG).read_text())["fan_in_fan_out"] is transposed
    logits_of_peft(pool, tmp_path, random_ids(base, 1, 5))
    assert not [warning for warning in recwarn if "fan_in_fan_out" in str(warning.message)]


# ---- what cannot be done ---------------------------------------------------------------------------------------------


def test_what_cannot_be_exported_is_said_and_nothing_is_written(open_pool: Any, tmp_path: Path) -> None:
    pool, base = open_pool()
    person, out = person_of(pool, some_weights(base)), tmp_path / "out"
    with pytest.raises(PerpcsError, match="rank is 0"):
        export_adapter(base, pool, person, out, rank=0)
    with pytest.raises(PerpcsError, match="no weight on any piece"):
        export_adapter(base, pool, replace(person, weights=np.zeros_like(person.weights)), out)
    with pytest.raises(PerpcsError, match="lies inside the pool"):
        export_adapter(base, pool, person, pool.folder / "base")
    with pytest.raises(PerpcsError, match="was assembled from the pool 'elsewhere'"):
        Engine(pool, base).export(replace(person, pool="elsewhere", pool_hash="0" * 64), out)
    assert not out.exists()
    assert not (pool.folder / "base" / CONFIG).exists()


# ---- the command -----------------------------------------------------------------------------------------------------


def test_the_command_writes_what_peft_loads(open_pool: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pool, base = open_pool()
    weights, ids = some_weights(base), random_ids(base, 1, 12)
    person_of(pool, weights).save(tmp_path / "ada.json")
    command = ["export", "--pool", str(pool.folder), "--user", str(tmp_path / "ada.json"), "--device", "cpu"]
    assert main([*command, "--out", str(tmp_path / "whole")]) == 0
    said = capsys.readouterr().out
    size = sum(file.stat().st_size for file in (tmp_path / "whole").iterdir())
    assert f"{size:,} bytes" in said
    assert "Nothing was cut off" in said
    ours = logits_of_layer(pool, base, weights, ids)
    torch.testing.assert_close(logits_of_peft(pool, tmp_path / "whole", ids), ours, atol=1e-9, rtol=1e-9)

    assert main([*command, "--out", str(tmp_path / "cut"), "--rank", "2"]) == 0
    assert "Relative error" in capsys.readouterr().out
    assert main([*command, "--out", str(tmp_path / "cut"), "--rank", "2", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    whole, each = relative(written(pool, tmp_path / "cut"), updates(pool, weights))
    assert facts["error"] == pytest.approx(whole, abs=1e-6)
    assert tuple(facts["errors"].values()) == pytest.approx(each, abs=1e-6)
    assert facts["ranks"] == {
        position.label: 0 if p == EMPTY else 2 for p, position in enumerate(pool.manifest.positions)
    }
    assert (facts["user"], facts["task"], facts["base"]) == ("ada", TASK, "base")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (["--pool", "other"], "was assembled from the pool 'tiny'"),
        (["--pool", "no-such-pool"], "There is no pool"),
        (["--user", "no-such-person.json"], "no-such-person.json"),
        (["--rank", "-1"], "rank is -1"),
        (["--out", "ada.json"], "ada.json"),  # a file stands there
    ],
)
def test_a_mistake_gets_two_sentences_and_no_traceback(
    open_pool: Any,
    tiny_pool_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    change: list[str],
    says: str,
) -> None:
    pool, base = open_pool()
    monkeypatch.chdir(tmp_path)
    Path("other").symlink_to(tiny_pool_folder)
    person_of(pool, some_weights(base)).save(Path("ada.json"))
    command = ["export", "--pool", str(pool.folder), "--user", "ada.json", "--out", "out", "--device", "cpu"]
    assert main([*command, *change]) == 1
    error = capsys.readouterr().err
    assert says in error
    assert "Traceback" not in error
    assert len(error.strip().splitlines()) == 2
    assert not Path("out").exists()


# ---- from the app ---------------------------------------------------------------------------------------------------


def test_a_zip_holds_the_files_as_they_are_and_is_the_same_every_time():
    files = {CONFIG: b"{}\n", TENSORS: bytes(range(256)) * 40}
    data = zipped(files)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == files
        assert archive.testzip() is None
    assert zipped(files) == data
    assert len(data) < sum(map(len, files.values()))


def test_what_the_app_hands_out_is_what_the_command_writes(open_pool: Any, tmp_path: Path):
    pool, base = open_pool()
    engine, person = Engine(pool, base), person_of(pool, some_weights(base))
    made = engine.export(person, tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == engine.adapter(person).files == made.files
    with pytest.raises(PerpcsError, match="was assembled from the pool"):
        engine.adapter(replace(person, pool_hash="other"))
