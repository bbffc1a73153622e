"""The text's pieces: a SentencePiece model of the sentences that are trained on."""

from __future__ import annotations

import random
import tempfile
import unicodedata
from pathlib import Path

import sentencepiece

from speech.text import sentence, vocabulary, words_of

_SEED = 5
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_SAID = {
    **{str(i): f" {digit} " for i, digit in enumerate(_DIGITS)},
    **{"&": " and ", "%": " percent ", "+": " plus ", "=": " equals ", "@": " at "},
    **dict.fromkeys("-/\u2013\u2014\u2026", " "),  # dashes and the ellipsis part words
    **dict.fromkeys("`\u2018\u2019", "'"),
    **{"æ": "ae", "œ": "oe", "ø": "o", "ß": "ss", "ł": "l", "đ": "d", "ð": "th", "þ": "th"},
}
_LATIN = range(0x41, 0x250)


def written_as_trained() -> dict[str, str]:
    """What single characters become, so that any text is spelled as the training's text is.

    Letters lose their case and accents, digits and some signs are spelled out.
    """
    found = dict(_SAID)
    for character in map(chr, _LATIN):
        lower = character.lower()
        plain = _SAID.get(lower) or unicodedata.normalize("NFKD", lower)[0]
        if character.isalpha() and plain != character:
            found[character] = plain
    return found


def train(path: Path, pieces: int, longest_piece: int, sentences: int) -> None:
    """Write a tokenizer of `pieces` pieces to `path`.

    Byte-pair pieces, because unigram pieces fell back to letters. The ids 0 to 3 never stand for
    text: the models use them for the boundary of a word, the speakers and padding.
    """
    rng = random.Random(_SEED)
    spoken = (" ".join(words_of(sentence(rng))) for _ in range(sentences))
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".partial")
    with draft.open("wb") as file, tempfile.NamedTemporaryFile("w", suffix=".tsv") as rules:
        for character, text in written_as_trained().items():
            rules.write(f"{ord(character):x}\t{' '.join(f'{ord(c):x}' for c in text)}\n")
        rules.flush()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter([*spoken, *vocabulary()]),
            model_writer=file,
            vocab_size=pieces,
            model_type="bpe",
            unk_id=0,
            bos_id=1,
            eos_id=2,
            pad_id=3,
            character_coverage=1.0,
            max_sentencepiece_length=longest_piece,
            normalization_rule_tsv=rules.name,
            num_threads=1,
            minloglevel=2,
        )
    draft.replace(path)
