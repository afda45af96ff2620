"""A byte-level BPE whose words fall into the same pieces however they are cased.

An ordinary BPE learns "cowshed", "Cowshed" and "COWSHED" as three strings that have nothing in common, and cuts an
invented name at other places in capitals than in small letters. Who has to write one for the other must then know how
every piece is spelled, which a small model hardly learns: ours wrote a third of its headlines in capitals with a word
that is none. Here merges are learned on small letters and each is repeated for words with a capital first and for words
in capitals, so that pieces correspond one to one and another casing is another token for the same piece.
"""

import json
import re
from collections.abc import Iterable
from string import ascii_lowercase, ascii_uppercase
from typing import Any

BOS, EOS, PAD = "<|begin|>", "<|end|>", "<|pad|>"


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> Any:
    """A tokenizer learned from ``texts``: any string can be read, unknown words fall into pieces.

    Args:
        vocabulary: most tokens; 256 bytes and three special ones are always there.

    Returns:
        A Hugging Face fast tokenizer that puts a BOS in front of every text.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bytes_apart = pre_tokenizers.ByteLevel(add_prefix_space=False)
    small = Tokenizer(models.BPE())
    small.pre_tokenizer = bytes_apart
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, initial_alphabet=alphabet, show_progress=False)
    small.train_from_iterator(map(_small, texts), trainer)
    vocab, merges = _in_every_casing(
        [BOS, EOS, PAD, *alphabet], json.loads(small.to_str())["model"]["merges"], vocabulary
    )
    raw = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    raw.pre_tokenizer = bytes_apart
    raw.decoder = decoders.ByteLevel()
    raw.add_special_tokens([BOS, EOS, PAD])
    raw.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, vocab[BOS])])
    return PreTrainedTokenizerFast(tokenizer_object=raw, bos_token=BOS, eos_token=EOS, pad_token=PAD)


def _in_every_casing(
    tokens: list[str], learned: Iterable[Iterable[str]], most: int
) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """A vocabulary and merges: each learned merge, and right behind it what it is in the other two casings.

    Args:
        tokens: that are there before any merge.
        learned: merges of small letters, the most frequent first; as many are taken as there is room for all three of.
    """
    vocab = {token: number for number, token in enumerate(tokens)}
    merges: dict[tuple[str, str], None] = {}
    for left, right in learned:
        first = (_capital(left), right) if _has_letters(left) else (left, _capital(right))
        three = dict.fromkeys(((left, right), first, (_capitals(left), _capitals(right))))
        new = [pair for pair in three if pair not in merges]
        if len(vocab) + len({"".join(pair) for pair in new} - vocab.keys()) > most:
            break
        for pair in new:
            merges[pair] = None
            vocab.setdefault("".join(pair), len(vocab))
    return vocab, list(merges)


# Of ASCII alone: in a byte-level vocabulary other letters stand for bytes and have no casing.
_TO_SMALL = str.maketrans(ascii_uppercase, ascii_lowercase)
_TO_CAPITALS = str.maketrans(ascii_lowercase, ascii_uppercase)
_FIRST_LETTER = re.compile("[A-Za-z]")


def _small(text: str) -> str:
    return text.translate(_TO_SMALL)


def _capitals(token: str) -> str:
    return token.translate(_TO_CAPITALS)


def _capital(token: str) -> str:
    """The token with its first letter in capitals."""
    return _FIRST_LETTER.sub(lambda found: found[0].upper(), token, count=1)


def _has_letters(token: str) -> bool:
    return bool(_FIRST_LETTER.search(token))
