"""The text's pieces: a SentencePiece model of the sentences that are trained on."""

from __future__ import annotations

import random
from pathlib import Path

import sentencepiece

from speech.text import sentence, vocabulary, words_of

_SEED = 5


def train(path: Path, pieces: int, longest_piece: int, sentences: int) -> None:
    """Write a tokenizer of `pieces` pieces to `path`.

    Byte-pair pieces, because unigram pieces fell back to letters. The ids 0 to 3 never stand for
    text: the models use them for the boundary of a word, the speakers and padding.
    """
    rng = random.Random(_SEED)
    spoken = (" ".join(words_of(sentence(rng))) for _ in range(sentences))
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".partial")
    with draft.open("wb") as file:
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
            num_threads=1,
            minloglevel=2,
        )
    draft.replace(path)
