"""One set of 41 phone classes for what espeak-ng and flite call the sounds of English."""

from __future__ import annotations

_CONSONANTS = "p b t d k g f v th dh s z sh zh ch jh m n ng l r w y hh"
_VOWELS = "iy ih ey eh ae aa ao ow uh uw ah ax er ay aw oy"
PHONES = ("sil", *_CONSONANTS.split(), *_VOWELS.split())
SILENCE = 0
UNKNOWN = 255  # a sound outside the set: not trained on

_INDEX = {phone: i for i, phone in enumerate(PHONES)}
# espeak-ng's mnemonics; what is not listed has flite's name already.
_ESPEAK = {
    "sil": "_ _: _! _| _:: pau",
    "t": "t2 t# ?",
    "th": "T",
    "dh": "D",
    "sh": "S",
    "zh": "Z",
    "ch": "tS",
    "jh": "dZ",
    "ng": "N",
    "n": "n-",
    "y": "j",
    "hh": "h",
    "r": "r-",
    "w": "w#",
    "l": "l/ @L",
    "ih": "I I2 I#",
    "iy": "i: i i@ i@3 I@",
    "eh": "E E2 e@",
    "ae": "a aa",
    "aa": "A: A A@ 0",
    "ao": "O: O O2 O@ o@",
    "ow": "oU o",
    "uh": "U U@",
    "uw": "u: u",
    "ah": "V",
    "ax": "@ @2 @- @5 a#",
    "er": "3 3: 3# VR",
    "ey": "eI e",
    "ay": "aI aI2 aI3",
    "aw": "aU",
    "oy": "OI",
}
_NAMES = {mnemonic: phone for phone, all_ in _ESPEAK.items() for mnemonic in all_.split()}


def class_of(name: str) -> int:
    """The class of a synthesizer's phone; UNKNOWN if it has none."""
    return _INDEX.get(_NAMES.get(name, name), UNKNOWN)
