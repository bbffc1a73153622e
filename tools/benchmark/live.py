"""Live streams in real time, with recordings and voices beside: what a frame waits for."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import numpy as np

from benchmark import machine
from benchmark.statistics import quantile, spread
from dsm_mlx.audio import read
from dsm_mlx.results import Pause
from dsm_mlx.stt.model import SpeechToText
from dsm_mlx.tts.model import TextToSpeech

_HERE = Path(__file__).parent
_AUDIO = _HERE.parents[1] / "demos/audio"
_WARM = 5  # first frames of a live stream, which do not count
_SETTLE = 1.0  # seconds, and a quarter of a load at most, for what runs beside to get going
_RECORDING = 120  # seconds
_LATE = 0.02  # seconds of sound that a sound card has left when it asks for more
_ROUNDS = 2  # of all loads, in turns, so that a busy machine disturbs all alike


@dataclass(frozen=True)
class Load:
    """What goes on at the same time: live streams, recordings, voices."""

    live: int = 0
    files: int = 0
    voices: int = 0

    def __str__(self) -> str:
        counts = {"live": self.live, "recordings": self.files, "voices": self.voices}
        return " + ".join(f"{count} {name}" for name, count in counts.items() if count)


@dataclass
class Voice:
    """How voices were heard: seconds to the first sound, chunks, and the seconds by which some
    came later than the sound before them ended."""

    first: list[float] = field(default_factory=list)
    chunks: int = 0
    late: list[float] = field(default_factory=list)

    def figures(self) -> dict:
        return {
            "first sound ms": spread(self.first) if self.first else None,
            "chunks": self.chunks,
            "chunks late": len(self.late),
            "longest silence ms": 1e3 * max(self.late, default=0.0),
        }


@dataclass
class Outcome:
    """Of a load: what each live frame took from when it was due, and what the rest did.

    files: frames heard. seconds: in which. others: cores that other programs took, each time.
    """

    waits: list[float] = field(default_factory=list)
    files: int = 0
    seconds: float = 0.0
    others: list[float] = field(default_factory=list)
    voice: Voice = field(default_factory=Voice)

    @property
    def files_a_second(self) -> float:
        return self.files / self.seconds


class Loads:
    """Runs loads on two models; either may be None where a load does not need it."""

    def __init__(self, stt: SpeechToText | None, tts: TextToSpeech | None):
        self._stt, self._tts = stt, tts
        if stt:
            self._frame, self._step = round(stt.sample_rate / stt.frame_rate), 1 / stt.frame_rate
            sounds = [read(path, target=stt.sample_rate) for path in sorted(_AUDIO.glob("*.wav"))]
            self._sound = np.resize(np.concatenate(sounds), _RECORDING * stt.sample_rate)
        self._text = (_HERE.parent / "sentences.txt").read_text(encoding="utf-8")

    def run(self, load: Load, seconds: float, outcome: Outcome) -> None:
        """Add what comes of a load that lasts so long to `outcome`."""
        stop, heard = Event(), []
        with ThreadPoolExecutor(load.live + bool(load.files) + load.voices or 1) as pool:
            others: list[Future] = []
            with _stopping(stop):
                if load.files:
                    others.append(pool.submit(self._transcribe, load.files, heard, stop))
                others += [
                    pool.submit(self._speak, number, outcome.voice, stop)
                    for number in range(load.voices)
                ]
                start = time.perf_counter() + min(_SETTLE, seconds / 4)
                end, phases = start + seconds, random.Random(3)
                live = [
                    pool.submit(self._hear, start + phases.random() * self._step, end, stop)
                    for _ in range(load.live)
                ]
                busy, began = machine.busy_seconds(), time.perf_counter()
                for future in live:
                    outcome.waits += future.result()
                while time.perf_counter() < end and not any(other.done() for other in others):
                    time.sleep(0.01)
                if busy is not None:
                    busy = machine.busy_seconds() - busy
                    outcome.others.append(busy / (time.perf_counter() - began))
            for future in others:
                future.result()
        outcome.files += sum(frames for at, frames in heard if start <= at <= end)
        outcome.seconds += seconds

    def _hear(self, due: float, end: float, stop: Event) -> list[float]:
        """Hear a live stream until `end`; what each frame took from when it was due."""
        waits, starts = [], range(0, self._sound.size - self._frame, self._frame)
        with self._stt.stream() as stream:
            for number in range(int((end - due) / self._step)):
                if stop.wait(max(0.0, due - time.perf_counter())):
                    break
                if time.perf_counter() < end:  # else it has fallen behind, and waits at least so
                    at = starts[number % len(starts)]
                    stream.feed(self._sound[at : at + self._frame])
                waits.append(time.perf_counter() - due)
                due += self._step
            stream.close()
        return waits[_WARM:]

    def _transcribe(self, count: int, heard: list, stop: Event) -> None:
        """Transcribe recordings until told to stop; when how many frames were heard."""
        rate = self._stt.sample_rate
        while not stop.is_set():
            sounds = [self._sound] * count
            parts = self._stt.transcribe_events(sounds, sample_rate=rate, batch=count)
            with closing(parts):
                for part in parts:
                    # There is one for each frame of sound.
                    frames = sum(isinstance(event, Pause) for event in part.events)
                    heard.append((time.perf_counter(), frames))
                    if stop.is_set():
                        break

    def _speak(self, seed: int, voice: Voice, stop: Event) -> None:
        """Play a voice until told to stop, each chunk when the one before has been played."""
        while not stop.is_set():
            begun = time.perf_counter()
            with self._tts.stream(seed=seed) as stream:
                stream.feed(self._text)
                stream.end()
                due = None
                for _ in stream:
                    now = time.perf_counter()
                    if due is None:
                        voice.first.append(now - begun)
                        due = now
                    elif now > due + _LATE:
                        voice.late.append(now - due)
                        due = now
                    voice.chunks += 1
                    due += 1 / self._tts.frame_rate
                    if stop.wait(max(0.0, due - time.perf_counter())):
                        return


@contextmanager
def _stopping(stop: Event) -> Iterator[None]:
    try:
        yield
    finally:
        stop.set()


def measure(loads: Loads, whole: Load, seconds: float, say: Callable[[str], None]) -> dict:
    """Figures of `whole`, beside those of its parts by themselves."""
    one, live = Load(live=min(1, whole.live)), Load(live=whole.live)
    files, voices = Load(files=whole.files), Load(voices=whole.voices)
    outcomes = {load: Outcome() for load in (one, live, files, voices, whole) if load != Load()}
    for number in range(_ROUNDS):
        for load, outcome in outcomes.items():
            say(f"{number + 1} of {_ROUNDS}: {load}, {seconds / _ROUNDS:g} s")
            loads.run(load, seconds / _ROUNDS, outcome)
    beside = outcomes[whole]
    result = {
        "cores that other programs took": {
            str(load): outcome.others or None for load, outcome in outcomes.items()
        }
    }
    if whole.live:
        waits = [outcome.waits for outcome in (outcomes[one], outcomes[live], beside)]
        p95 = [quantile(each, 0.95) for each in waits]
        result["live frames, from when they were due"] = {
            "one stream, ms": spread(waits[0]),
            f"{live}, ms": spread(waits[1]),
            f"{whole}, ms": spread(waits[2]),
            "p95, times one stream's": p95[2] / p95[0],
            f"p95, times that of {live}": p95[2] / p95[1],
        }
    if whole.files:
        alone = outcomes[files].files_a_second
        result["recordings, frames a second"] = {
            str(files): alone,
            str(whole): beside.files_a_second,
            "share": beside.files_a_second / alone if alone else None,
        }
    if whole.voices:
        result["voices"] = {
            str(load): outcomes[load].voice.figures() for load in dict.fromkeys((voices, whole))
        }
    return result
