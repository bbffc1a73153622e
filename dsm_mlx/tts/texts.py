"""Whole texts and dialogues, said to their ends beside each other."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike

import numpy as np

from dsm_mlx.loading.voices import Voice
from dsm_mlx.messages import shown
from dsm_mlx.results import Chunk, Speech
from dsm_mlx.runtime import worker
from dsm_mlx.runtime.session import Changed
from dsm_mlx.runtime.waiting import raise_error, stopped_by_caller
from dsm_mlx.tts.prompt import VoicePrompt
from dsm_mlx.tts.session import LiveText, Session

Turns = Sequence[tuple[Voice | None, str]]
Text = str | Turns


@dataclass
class Job:
    """A text that is to be said to its end."""

    script: LiveText
    voice: VoicePrompt
    seed: int


def say(
    jobs: Sequence[Job],
    new_session: Callable[[Job, Changed], Session],
    batch: int,
    progress: Callable[[Chunk], None] | None,
    sample_rate: int,
) -> list[Speech]:
    """Say all of it, at most `batch` texts at a time; what ends one of them is raised.

    new_session: makes a session that may join its `home`, given the condition that it tells of
    changes. progress: called with every chunk of sound.
    """
    waiting, changed = deque(enumerate(jobs)), Changed()
    running: list[_Saying] = []
    said: dict[int, Speech] = {}
    given_up = threading.Event()

    def give_up() -> None:
        given_up.set()
        changed.notify_all()

    try:
        with stopped_by_caller(give_up):
            while (waiting or running) and not given_up.is_set():
                while waiting and len(running) < batch:
                    index, job = waiting.popleft()
                    session = new_session(job, changed)
                    running.append(_Saying(index, session))
                    # After that, so that Ctrl-C, whenever it comes, leaves no row taken.
                    worker.run(session.home.join, session)
                worker.post()
                worker.check()
                changed.wait_for(lambda: given_up.is_set() or any(r.news for r in running))
                for saying in [saying for saying in running if saying.news]:
                    over = saying.session.over
                    saying.take(progress)
                    if over:
                        said[saying.index] = saying.speech(sample_rate)
                        worker.post(saying.session.stop)
                        running.remove(saying)
    finally:
        for saying in running:
            worker.post(saying.session.stop)
    return [said[index] for index in range(len(jobs))]


class _Saying:
    """A text that is being said: its session, and the sound so far."""

    def __init__(self, index: int, session: Session):
        self.index, self.session = index, session
        self._sound = [np.zeros(0, np.float32)]

    @property
    def news(self) -> bool:
        return bool(self.session.chunks) or self.session.over

    def take(self, progress: Callable[[Chunk], None] | None) -> None:
        """The sound that came since; raises what ended the session."""
        raise_error(self.session)
        with self.session.changed:
            chunks = list(self.session.chunks)
            self.session.chunks.clear()
        for chunk in chunks:
            self._sound.append(chunk.audio)
            if progress:
                progress(chunk)

    def speech(self, sample_rate: int) -> Speech:
        self.session.warn_if_cut_short()
        return Speech(np.concatenate(self._sound), sample_rate, self.session.words)


def is_dialogue(text: object) -> bool:
    """Whether this is a list of turns (voice, text), rather than a text or a list of texts."""
    if not isinstance(text, (list, tuple)):
        return False
    return bool(text) and all(isinstance(turn, tuple) for turn in text)


def turns_of(text: Text, voice: Voice | None) -> tuple[list[Voice | None], list[tuple[int, str]]]:
    """The voices of a text, and its turns as (number of the voice, text).

    voice: of a text, and of turns that name none. ValueError for what is neither a text nor a
    dialogue.
    """
    if isinstance(text, str):
        return [voice], [(0, text)]
    if not is_dialogue(text) or not all(len(t) == 2 and isinstance(t[1], str) for t in text):
        raise ValueError(f"text is {shown(text)} (expected a string or a list of (voice, text))")
    voices: list[Voice | None] = []
    turns = []
    for own, said in text:
        speaker = voice if own is None else own
        known = [i for i, other in enumerate(voices) if _is_same(speaker, other)]
        if not known:
            voices.append(speaker)
        turns.append((known[0] if known else len(voices) - 1, said))
    return voices, turns


def _is_same(one: Voice | None, other: Voice | None) -> bool:
    """Names and paths by what they are; arrays, which cannot be compared so, by identity."""
    named = isinstance(one, (str, PathLike)) and isinstance(other, (str, PathLike))
    return one is other or (named and one == other)
