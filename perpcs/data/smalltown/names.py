"""Invented people and places, without end: a model must copy them, it cannot know them.

A word is two or three syllables. Its checksum says whether it is held out for target users, so that people a model
trains on never meet a target user's names. (First names are short and few, and still obey the rule.)
"""

import random
from zlib import crc32

from perpcs.data.smalltown.words import words

HELD_OUT_ONE_IN = 3

_FIRST_START = words(
    "A Ba Be Bri Ca Ce Co Da De Do E El Fa Fe Fi Ga Gle Ha He I Ja Jo Ka Ke La Le Li Lo Ma Me Mi Mo Na Ne No O Or Pe "
    "Pi Qui Ra Re Ro Sa Se Si So Ta Te Ti To U Va Ve Vi Wa Wi Xa Ya Ye Za Ze"
)
_FIRST_MIDDLE = words("ri li lo mi na no ne ra re la le da de va ve ssa rri nna lle so sa ro")
_FIRST_END = words("n na la lia ra rin ric s th l da den dor mon len vin ne ya mir bert wyn bel nor")

_FAMILY_START = words(
    "Al Ar Ash Bar Bel Bram Bren Brin Cal Car Cor Crad Dal Dar Den Dor Dun El Em Fal Far Fen Gar Gil Gor Grim Hal Har "
    "Hol Hux Ing Jar Kel Kem Kin Lan Lar Lin Lor Mal Mar Mel Mor Nar Nor Ol Os Pel Pem Pol Quin Ral Ren Ros Sal Sel "
    "Sor Stan Tal Tam Tes Thorn Tor Tul Ul Val Var Ver Wal Wen Wil Yar Yel Zan"
)
_FAMILY_MIDDLE = ("", "", "", "", "", "", "", "a", "e", "o", "i", "in", "er", "en", "ing", "el", "or", "an")
_FAMILY_END = words(
    "dake ridge man son ton by worth well er ley croft field low shaw stead wick wright ford mere den lock grave born "
    "gate more ham ster ling nell dine tock bury vane"
)

_PLACE_END = words(
    "low by holt bridge ford ham ton wick stead mouth haven dale moor well bury minster port cliff gate worth combe "
    "thorpe field den mere ness wold stoke brook hurst leigh pool"
)


def _kept(word: str, held_out: bool) -> bool:
    return (crc32(word.encode()) % HELD_OUT_ONE_IN == 0) == held_out


def first_name(rng: random.Random, held_out: bool) -> str:
    """A first name, such as "Orrin"."""
    choice = rng.choice
    while True:
        name = choice(_FIRST_START) + choice(_FIRST_MIDDLE) + choice(_FIRST_END)
        if 4 <= len(name) <= 8 and _kept(name, held_out) and _sayable(name):
            return name


def family_name(rng: random.Random, held_out: bool) -> str:
    """A family name, such as "Valdake"."""
    choice = rng.choice
    while True:
        name = choice(_FAMILY_START) + choice(_FAMILY_MIDDLE) + choice(_FAMILY_END)
        if len(name) <= 10 and _kept(name, held_out) and _sayable(name):
            return name


def place_name(rng: random.Random, held_out: bool) -> str:
    """A place, such as "Brenholt"."""
    choice = rng.choice
    while True:
        name = choice(_FAMILY_START) + choice(_FAMILY_MIDDLE) + choice(_PLACE_END)
        if len(name) <= 11 and _kept(name, held_out) and _sayable(name):
            return name


def full_name(rng: random.Random, held_out: bool) -> str:
    """First and family name, such as "Orrin Valdake"."""
    return f"{first_name(rng, held_out)} {family_name(rng, held_out)}"


def _sayable(name: str) -> bool:
    """No run of four consonants, no three equal letters."""
    run = 0
    for position, letter in enumerate(name.lower()):
        run = 0 if letter in "aeiouy" else run + 1
        if run >= 4 or name[position : position + 3].count(letter) == 3:
            return False
    return True
