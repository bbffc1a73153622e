"""What a codec leaves of a set: the distance of spectra, and words wrong after it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from tqdm import tqdm

from dsm_mlx import SpeechToText
from dsm_mlx.codec.mimi import Mimi
from evaluation.hearing import transcripts
from evaluation.mel import log_mel
from evaluation.points import Point
from evaluation.score import Score
from evaluation.scoring import Scorer
from evaluation.sets import Set
from evaluation.similarity import Embedder, Likeness

_GROUP = 8  # recordings of about the same length that go through the codec together


@dataclass
class Kept:
    """A score of what is heard after the codec, and of how far the sound is from what it was.

    distances: of each frame of spectra, in dB. alike: similarity of voices, of each recording.
    """

    score: Score
    codebooks: int | None
    distances: list[float] = field(default_factory=list)
    alike: list[float] = field(default_factory=list)

    def compare(self, before: np.ndarray, after: np.ndarray, likeness: Likeness | None) -> None:
        """One more recording, float32 (samples,) each."""
        self.distances += list(np.abs(log_mel(before) - log_mel(after)).mean(1))
        self.score.extra["mel_db"] = float(np.mean(self.distances))
        if likeness:
            self.alike.append(likeness.of(after))
            self.score.extra["similarity"] = float(np.mean(self.alike))


def scores(codec: Mimi, counts: Sequence[int], set_: Set, scorer: Scorer) -> list[Kept]:
    """What is to be filled: of the sound as it is, and of each number of codebooks."""
    found = [Kept(Score(set_, scorer, Point("as it is")), None)]
    for count in counts:
        if not 1 <= count <= codec.codebooks:
            raise ValueError(f"codebooks: {count} (expected 1 to {codec.codebooks})")
        kept = Kept(Score(set_, scorer, Point(str(count), count)), count)
        kept.score.extra["bits_per_second"] = count * np.log2(codec.bins) * codec.frame_rate
        found.append(kept)
    return found


def send(
    kept: Sequence[Kept], codec: Mimi, stt: SpeechToText, batch: int, embed: Embedder | None
) -> None:
    """Fill them, a few recordings at a time, all numbers of codebooks alike."""
    set_ = kept[0].score.set
    with tqdm(total=len(set_.items), desc=f"{set_.name}, codec", disable=None) as bar:
        for places, sounds in _alike_in_length(set_):
            codes = codec.encode(_padded(sounds))
            likenesses = [Likeness(embed, sound) if embed else None for sound in sounds]
            for one in kept:
                after = sounds
                if one.codebooks is not None:
                    decoded = codec.decode(codes[:, : one.codebooks])[:, 0]
                    after = [pcm[: len(sound)] for pcm, sound in zip(decoded, sounds, strict=True)]
                    for pair in zip(sounds, after, likenesses, strict=True):
                        one.compare(*pair)
                for index, heard in transcripts(stt, after, batch):
                    one.score.add(set_.items[places[index]], heard.text, heard.duration)
            bar.update(len(places))


def _alike_in_length(set_: Set) -> Iterator[tuple[list[int], list[np.ndarray]]]:
    """Places and sounds, the shortest first: what a shorter one is filled up with costs time."""
    sounds = [item.pcm() for item in set_.items]
    order = sorted(range(len(sounds)), key=lambda place: sounds[place].size)
    for first in range(0, len(order), _GROUP):
        places = order[first : first + _GROUP]
        yield places, [sounds[place] for place in places]


def _padded(sounds: Sequence[np.ndarray]) -> np.ndarray:
    """float32 (rows, 1, samples); silence that follows changes nothing of what came before."""
    longest = max(sound.size for sound in sounds)
    return np.stack([np.pad(sound, (0, longest - sound.size)) for sound in sounds])[:, None]
