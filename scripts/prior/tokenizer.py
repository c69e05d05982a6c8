"""A CLIP tokenizer whose vocabulary holds our own words whole; other text falls back to pieces, at worst to bytes."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

import captions
from captions import Facts

START, END = "<|startoftext|>", "<|endoftext|>"
# Words that prompts often hold and our captions do not; they stay whole, so that they disturb little.
EXTRA_WORDS = """
the of in with and on at by from for to isometric cute small big large little old new beautiful realistic
photorealistic cartoon low poly model render toy plastic glass leather fabric cloth concrete ceramic porcelain clay
painted carved weathered dirty clean shiny matte glossy rough smooth bright dark ancient modern fantasy magic style
game asset texture material object background studio lighting sharp focus 4k 8k quality best masterpiece blurry ugly
deformed low worst bad distorted noisy spots spotted dots dotted stripes striped pattern patterned tiger leopard
crocodile snake skin scales feathers bunny rabbit dragon monster spaceship pirate ship armchair wardrobe cabinet
drawer kettle jar jug plate sculpture bust statue
mirrored looking up down mountain mountains landscape hills meadow sky clouds sunset sunrise night evening sunny
rainy stormy misty sea ocean lake river beach forest desert city street field garden snow snowy winter summer autumn
""".split()  # noqa: SIM905


def _words(facts: list[Facts]) -> list[str]:
    words = set(EXTRA_WORDS) | {
        "object",
        "thing",
        "toy",
        "sculpture",
        "statue",
        "a",
        "an",
        "made",
        "surface",
        "flat",
        "texture",
        "background",
        "front",
        "side",
    }
    words |= {"back", "overhead", "bottom", "left", "right", "above", "view", "none"}
    for text in (*captions.PREFIXES, *captions.SUFFIXES):
        words |= set(text.replace(",", " ").split())
    for fact in facts:
        for text in (*fact.names, *fact.adjectives, *fact.nouns, fact.background):
            words |= set(text.replace(",", " ").replace("-", " ").split())
    return sorted(words)


def load_or_build_tokenizer(folder: Path, facts: list[Facts], length: int) -> CLIPTokenizer:
    """The tokenizer in the folder; where there is none, one is made from the words of the facts."""
    if not (folder / "vocab.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        words = _words(facts)
        trainer = trainers.BpeTrainer(
            vocab_size=20000,
            min_frequency=1,
            end_of_word_suffix="</w>",
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        learner = Tokenizer(models.BPE())
        learner.normalizer = normalizers.Lowercase()
        learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        learner.train_from_iterator(words, trainer)
        merges = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]]
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        pieces = [*alphabet, *(letter + "</w>" for letter in alphabet)]
        known = set(pieces)
        for first, second in merges:
            if first + second not in known:
                pieces.append(first + second)
                known.add(first + second)
        vocabulary = {piece: index for index, piece in enumerate([*pieces, START, END])}
        (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
        (folder / "merges.txt").write_text(
            "#version: 0.2\n" + "".join(f"{first} {second}\n" for first, second in merges)
        )
        settings = {
            "tokenizer_class": "CLIPTokenizer",
            "model_max_length": length,
            "bos_token": START,
            "eos_token": END,
            "unk_token": END,
            "pad_token": END,
            "add_prefix_space": False,
            "do_lower_case": True,
        }
        (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2))
        (folder / "special_tokens_map.json").write_text(
            json.dumps({key: value for key, value in settings.items() if key.endswith("_token")})
        )
    return CLIPTokenizer.from_pretrained(folder)
