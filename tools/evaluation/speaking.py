"""How a text-to-speech model does, alone and beside the one it was made from."""

from __future__ import annotations

import time
from pathlib import Path

import mlx.core as mx
import numpy as np

import dsm_mlx
from dsm_mlx.results import Speech
from dsm_mlx.runtime import worker
from dsm_mlx.tts.model import TextToSpeech
from dsm_mlx.tts.prompt import SpeechOptions
from dsm_mlx.tts.step import TtsStep
from evaluation import figures, forcing
from evaluation.listening import forget_memory


class Recorder(TtsStep):
    """Keeps what enters the model in every step of one row, and what it says."""

    def __init__(self, step: TtsStep):
        super().__init__(step.lm, step.mimi, step.delay_steps)
        self.inputs, self.text, self.codes = [], [], []

    def sample_text(self, row, lm, conditions, active=None):
        tokens, _ = self._inputs(row)
        self.inputs.append(np.array(tokens[0]))
        return super().sample_text(row, lm, conditions, active)

    def sample_audio(self, row, heard, text, *rest, **options):
        codes, row = super().sample_audio(row, heard, text, *rest, **options)
        self.text.append(text.item())
        self.codes.append(np.array(row["audio"][0]))
        return codes, row

    def spoken(self) -> forcing.Spoken:
        """Of the session that has ended. The last step may have begun and not been needed."""
        steps = len(self.text)
        return forcing.Spoken(
            np.stack(self.inputs[:steps]), np.array(self.text, np.int32), np.stack(self.codes)
        )


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
        if self._reference is None:
            self._spoken = [self._record(tts, text) for text in self._texts]
        logits = worker.run(self._forced, tts)
        if self._reference is None:
            self._reference = logits
        return result | _compared(self._reference, logits)

    def _wer(self, speeches: list[Speech]) -> float | None:
        if self._stt is None:
            return None
        stt = dsm_mlx.load_stt(self._stt)
        heard = [stt.transcribe(s.audio, sample_rate=s.sample_rate).text for s in speeches]
        return figures.word_error_rate(list(zip(self._texts, heard, strict=True)))

    def _record(self, tts: TextToSpeech, text: str) -> forcing.Spoken:
        usual, recorder = tts._step, Recorder(tts._step)
        tts._step = recorder
        try:
            tts.synthesize(text, self._voice, seed=0)
        finally:
            tts._step = usual
        return recorder.spoken()

    def _forced(self, tts: TextToSpeech) -> dict:
        speakers = tts._speakers([self._voice])
        text, audio = [], []
        for spoken in self._spoken:
            state, conditions = tts._prompts.start(speakers, SpeechOptions(), 0)
            text_logits, audio_logits = forcing.speak(tts._step.lm, spoken, state["lm"], conditions)
            text.append(text_logits)
            audio.extend(audio_logits)
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
