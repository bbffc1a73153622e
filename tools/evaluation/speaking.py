"""How a text-to-speech model does, alone and beside the one it was made from."""

from __future__ import annotations

import time
from pathlib import Path

import mlx.core as mx
import numpy as np

import dsm_mlx
from dsm_mlx.loading.core import open_core
from dsm_mlx.loading.options import LoadOptions
from dsm_mlx.results import Speech
from dsm_mlx.runtime import worker
from dsm_mlx.runtime.batch import Batch
from dsm_mlx.runtime.waiting import raise_error
from dsm_mlx.runtime.worker import Pieces, Worker
from dsm_mlx.tts.core import TtsCore
from dsm_mlx.tts.frame import TtsFrames
from dsm_mlx.tts.prompt import SpeechOptions, VoicePrompt
from dsm_mlx.tts.step import TtsStep
from evaluation import figures, forcing
from evaluation.listening import forget_memory


class Recorder(TtsStep):
    """Keeps what enters the model in every step of one row, and what it says."""

    def __init__(self, step: TtsStep):
        super().__init__(step.lm, step.mimi)
        self.inputs, self.text, self.codes = [], [], []

    def sample_text(self, state, *rest):
        tokens, _ = self._inputs(state["row"], state["lm"]["offset"])
        self.inputs.append(np.array(tokens[0]))
        return super().sample_text(state, *rest)

    def sample_audio(self, state, sampled, text, *rest, **options):
        codes, finite, state = super().sample_audio(state, sampled, text, *rest, **options)
        self.text.append(text.item())
        self.codes.append(np.array(state["row"]["audio"][0]))
        return codes, finite, state

    def spoken(self) -> forcing.Spoken:
        """Of the session that has ended."""
        return forcing.Spoken(
            np.stack(self.inputs), np.array(self.text, np.int32), np.stack(self.codes)
        )


def record(
    core: TtsCore, text: str, voice: VoicePrompt, options: SpeechOptions
) -> Pieces[forcing.Spoken]:
    """What a model does when it says a text, step by step."""
    script = core.script()
    script.feed(text)
    script.end()
    recorder, worker = Recorder(core.step), Worker()
    batch = Batch(TtsFrames(recorder, core.name), core.name)
    worker.add(batch)
    session = yield from core.session(script, voice, options, 0, live=False)
    batch.join(session)
    while not session.over:
        worker.turn()
        yield
    raise_error(session)
    return recorder.spoken()


def force(
    core: TtsCore, spoken: forcing.Spoken, voice: VoicePrompt, options: SpeechOptions
) -> Pieces[tuple[np.ndarray, np.ndarray]]:
    """`forcing.speak` of a session in which nothing has been said but its voice's prefix."""
    state, keys_values = yield from core.prompts.start(voice, options, 0)
    cross = [([0], layers) for layers in keys_values] or None
    condition = state["conditions"].get("sum")
    return (yield from forcing.speak(core.lm, spoken, state["lm"], condition, cross))


class Speaking:
    """Texts as the reference model says them, to compare other models with.

    stt: a speech-to-text model that listens to all of them, for the words that are wrong.
    """

    def __init__(self, texts: list[str], voice: str | None, stt: str | None):
        self._texts, self._voice, self._stt = texts, voice, stt
        self._spoken: list[forcing.Spoken] = []
        self._reference: dict | None = None

    def evaluate(self, model: str | Path, dtype: str | None) -> dict:
        """All figures of a model; the first one evaluated is the reference of those after it."""
        worker.run(forget_memory)
        tts = dsm_mlx.load_tts(model, dtype=dtype)
        tts.synthesize(self._texts[0], self._voice, seed=0)  # compiles
        start = time.perf_counter()
        speeches = [tts.synthesize(text, self._voice, seed=0) for text in self._texts]
        seconds = time.perf_counter() - start
        frames = sum(len(speech.audio) for speech in speeches) / tts.sample_rate * tts.frame_rate
        result = {
            "ms_per_frame": 1e3 * seconds / max(frames, 1),
            "peak_bytes": worker.run(mx.get_peak_memory),
            "wer": self._wer(speeches),
        }
        # What the handle shares with all others of the same files.
        core, _ = open_core(TtsCore, model, LoadOptions(dtype=dtype), None, None, None)
        logits = self._logits(core)
        if self._reference is None:
            self._reference = logits
        return result | _compared(self._reference, logits)

    def _wer(self, speeches: list[Speech]) -> float | None:
        if self._stt is None:
            return None
        stt = dsm_mlx.load_stt(self._stt)
        heard = [stt.transcribe(s.audio, sample_rate=s.sample_rate).text for s in speeches]
        return figures.word_error_rate(list(zip(self._texts, heard, strict=True)))

    def _logits(self, core: TtsCore) -> dict:
        """Of a model that is made to say what the first one said."""
        name = core.voices.default() if self._voice is None else self._voice
        voice = core.voice([] if name is None else [core.voices.find(name)])
        # In one pass: each pass of two-pass guidance is as near to the reference's as this one.
        options = SpeechOptions(core.config.temperature, cfg=core.cfg_names.get(core.guidance))
        if not self._spoken:
            self._spoken = [
                worker.run_pieces(record(core, text, voice, options)) for text in self._texts
            ]
        text, audio = [], []
        for spoken in self._spoken:
            logits = worker.run_pieces(force(core, spoken, voice, options))
            text.append(logits[0])
            audio.extend(logits[1])
        return {"text": np.concatenate(text), "audio": np.stack(audio)}


def _compared(reference: dict, heard: dict) -> dict:
    """Over all steps of all texts."""
    text, audio = ((reference[key], heard[key]) for key in ("text", "audio"))
    return {
        "text_agreement": figures.agreement(*(logits.argmax(-1) for logits in text)),
        "text_kl": figures.divergence(*text),
        "code_agreement": figures.agreement(*(logits.argmax(-1) for logits in audio)),
        "codebook_kl": [
            figures.divergence(audio[0][:, k], audio[1][:, k]) for k in range(audio[0].shape[1])
        ],
    }
