"""How a pool was made, as rows and sentences from its manifest; what the manifest lacks is left out."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from perpcs.figures.curve import title_of
from perpcs.figures.style import bytes_text
from perpcs.pool.manifest import Manifest, is_number, mapping

Fact = tuple[str, str]
"""A number and the words that say what it counts, both plain text."""


def base_card(manifest: Manifest) -> Mapping[str, Any]:
    """The card's part on the base model; empty if it has none."""
    return mapping(manifest.card.get("base"))


def data_text(manifest: Manifest) -> str:
    """What the pool was made from, as its maker wrote it; empty where they wrote nothing."""
    data = manifest.card.get("data")
    return data.strip() if isinstance(data, str) else ""


def limits(manifest: Manifest) -> tuple[str, ...]:
    """What the pool's maker says it cannot do."""
    found = manifest.card.get("limits")
    return tuple(str(limit) for limit in found) if isinstance(found, list | tuple) else ()


def people_rows(manifest: Manifest, examples: Mapping[str, int]) -> list[tuple[str, str, str, str, str]]:
    """Per task: its title, base users, candidates, sharers, example people; a dash where a number is not known."""
    base = mapping(manifest.users.get("base"))
    rows = []
    for pool in manifest.tasks:
        counts = (base.get(pool.task), pool.candidates, pool.sharers, examples.get(pool.task))
        first, *others = (f"{count:,}" if is_number(count) else "–" for count in counts)
        rows.append((title_of(pool.task), first, *others))
    return rows  # type: ignore[return-value]


def base_facts(manifest: Manifest) -> list[Fact]:
    """Size and training of the base model in numbers."""
    base = base_card(manifest)
    settings = mapping(base.get("settings"))
    facts = []
    if is_number(base.get("parameters")):
        facts.append((f"{base['parameters'] / 1e6:.3g} M", "parameters"))
    layers = settings.get("layers")
    if is_number(layers):
        facts.append((f"{layers:,}", "layers"))
    else:
        facts.append((f"{len({position.layer for position in manifest.positions})}", "adapted layers"))
    sizes = (("width", "width"), ("vocabulary", "tokens in the vocabulary"), ("max_tokens", "tokens at once"))
    for key, words in sizes:
        if is_number(settings.get(key)):
            facts.append((f"{settings[key]:,}", words))
    lessons = base.get("lessons", base.get("pairs"))
    if is_number(lessons) and lessons:
        facts.append((f"{lessons:,}", "texts by base users, used to adapt it"))
    if is_number(base.get("padded_tokens_seen")):
        facts.append((_short(base["padded_tokens_seen"]), "training tokens, padding included"))
    return facts


def base_sentences(manifest: Manifest) -> list[str]:
    """Where the base model comes from and how it was adapted to the tasks."""
    base = base_card(manifest)
    said = []
    if isinstance(base.get("from"), str):
        said.append(f"Based on {base['from']}.")
    losses = base.get("losses")
    adaptation = mapping(base.get("adaptation"))
    if isinstance(losses, list) and losses and all(map(is_number, losses)):
        rank, epochs = adaptation.get("rank"), adaptation.get("epochs")
        how = f" of rank {rank}" if is_number(rank) else ""
        how += f" in {epochs} epoch{'s' if epochs != 1 else ''}" if is_number(epochs) else ""
        said.append(
            f"Adapted to the tasks on base users’ texts with one LoRA{how}, merged into its weights: training loss "
            f"from {losses[0]:.2f} to {losses[-1]:.2f} nats per target token."
        )
    elif base.get("pairs") == 0:
        said.append("Used as it is: it was not adapted to the tasks.")
    return said


def piece_facts_of(manifest: Manifest, pool_bytes: int) -> list[Fact]:
    """Rank, alpha, positions, sharers per task and bytes."""
    number = {"float32": 4, "int8": 1}.get(manifest.dtype, 2)
    own = manifest.adapter_bytes // 2 * number
    modules = list(dict.fromkeys(position.module for position in manifest.positions))
    layers = len({position.layer for position in manifest.positions})
    tasks = len(manifest.tasks)
    return [
        (f"{manifest.rank}", "rank of a piece"),
        (f"{manifest.alpha:g}", f"alpha: a piece is multiplied by alpha / rank = {manifest.scale:g}"),
        (f"{len(manifest.positions)}", f"positions: {layers} layers, {', '.join(modules)}"),
        (_range(pool.sharers for pool in manifest.tasks), f"sharers per task, {tasks} task{'s' if tasks != 1 else ''}"),
        (bytes_text(own), f"all pieces of one sharer, {manifest.dtype}"),
        (bytes_text(pool_bytes), "the whole pool on disk"),
    ]


def training_sentences(manifest: Manifest) -> list[str]:
    """How pieces and gates were trained: one sentence if all tasks agree."""
    by_text: dict[str, list[str]] = {}
    for pool in manifest.tasks:
        parts = [_settings(name, mapping(pool.training.get(name))) for name in ("pieces", "gates")]
        parts.append(_distilled(mapping(pool.training.get("distil"))))
        text = ". ".join(part for part in parts if part)
        if text:
            by_text.setdefault(text, []).append(title_of(pool.task))
    if [len(tasks) for tasks in by_text.values()] == [len(manifest.tasks)]:
        return [f"Trained per sharer with the base model frozen. {next(iter(by_text))}."]
    return [f"{', '.join(tasks)}: {text}." for text, tasks in by_text.items()]


def _settings(what: str, settings: Mapping[str, Any]) -> str:
    """``pieces: 3 epochs, batches of 4, learning rate 0.002``."""
    words = (("epochs", "{:g} epochs"), ("steps", "{:g} steps"), ("batch", "batches of {:g}"))
    parts = [text.format(settings[key]) for key, text in words if is_number(settings.get(key))]
    parts = ["1 epoch" if part == "1 epochs" else part for part in parts]
    if is_number(settings.get("rate")):
        parts.append(f"learning rate {settings['rate']:g}")
    return f"{what.capitalize()}: {', '.join(parts)}" if parts else ""


def _distilled(settings: Mapping[str, Any]) -> str:
    """``Distilled gates: fitted on 8 items of each of at most 200 candidates who share nothing, ridge 0.3``."""
    items, people, ridge = (settings.get(key) for key in ("items", "people", "ridge"))
    if not (is_number(items) and is_number(people) and is_number(ridge)):
        return ""
    whom = f"each of at most {people:,} candidates who share nothing"
    return f"Distilled gates: fitted on {items:,} items of {whom}, ridge {ridge:g}"


HELD_OUT = {"people": "new people", "clusters": "from new clusters"}
"""Groups that P2P's network was not trained on, in words."""
PROFILES = {"base": "no profile", "own": "own profile", "shuffled": "someone else’s"}


def hypernet_rows(manifest: Manifest) -> list[tuple[str, ...]]:
    """Per task and group that P2P's network was not trained on: title, which group and how many, and nats per target
    token with each kind of ``PROFILES``; a dash where a number is not known.
    """
    rows = []
    learned = mapping(manifest.hypernet.get("tasks"))
    for pool in manifest.tasks:
        said = mapping(learned.get(pool.task))
        held = mapping(said.get("held_out"))
        for group, words in HELD_OUT.items():
            final = mapping(mapping(said.get("final")).get(group))
            if is_number(held.get(group)) and final:
                losses = (f"{final[kind]:.3f}" if is_number(final.get(kind)) else "–" for kind in PROFILES)
                rows.append((title_of(pool.task), f"{held[group]:,} {words}", *losses))
    return rows


def hypernet_sentence(manifest: Manifest) -> str:
    """How many people P2P's network was trained on, and what the test people were used for."""
    counts = (mapping(said).get("people") for said in mapping(manifest.hypernet.get("tasks")).values())
    learned = [int(count) for count in counts if is_number(count)]
    return (
        f"One network for all tasks, trained on {_range(learned)} other candidates per task. The people it is tested "
        "on here also set the length of training; the people in the quality tables played no part."
    )


def _range(counts: Iterable[int]) -> str:
    some: Sequence[int] = sorted(set(counts))
    return "–" if not some else f"{some[0]}" if len(some) == 1 else f"{some[0]} to {some[-1]}"


def _short(count: float) -> str:
    return f"{count / 1e9:.3g} G" if count >= 1e9 else f"{count / 1e6:.3g} M" if count >= 1e6 else f"{count:,.0f}"
