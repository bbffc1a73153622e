"""Runs a text-to-speech case of the reference and records what every step gave."""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import golden as fixtures
import numpy as np

from dsm_mlx.loading.checkpoint import Checkpoint
from dsm_mlx.runtime import worker
from dsm_mlx.tts.engine import Batch
from dsm_mlx.tts.model import TextToSpeech
from dsm_mlx.tts.prompt import SpeechOptions, VoicePrompt
from dsm_mlx.tts.script import ScriptMachine, ScriptReader
from dsm_mlx.tts.session import LiveText, Session
from dsm_mlx.tts.step import TtsStep


class RecordedStep(TtsStep):
    """Keeps, for every step, the text tokens given and the codes of the frame it completed."""

    def sample_audio(self, row, heard, text, *rest, **options):
        codes, row = super().sample_audio(row, heard, text, *rest, **options)
        self.said.append((np.array(text), np.array(codes)[..., 0], options["depth"]))
        return codes, row


@dataclass
class Row:
    """One row of a case: what it was given and said from the end of its prefix on."""

    session: Session
    first: int
    tokens: list[int] = field(default_factory=list)
    codes: list[np.ndarray] = field(default_factory=list)
    pcm: list[np.ndarray] = field(default_factory=list)
    entries: list[tuple[str, int]] = field(default_factory=list)


def load(folder: Path, **options) -> TextToSpeech:
    return worker.run(TextToSpeech, Checkpoint.find(folder, "tts"), **options)


@cache
def recorded(folder: Path, codebooks: int, null_hears_text: bool, dtype: str = "float32"):
    """A model with a step that records; cases share it, to compile each graph once."""
    tts = load(folder, codebooks=codebooks, dtype=dtype)
    old = tts._step
    step = RecordedStep(old.lm, old.mimi, old.delay_steps, null_hears_text)
    step.said = []
    tts._step = tts._prompts._step = step
    return tts


def session_of(tts: TextToSpeech, turns: list[str], prefix=None, padding_between=1) -> Session:
    """A session for turns of two speakers by turns, as the reference's scripts are."""
    reader = ScriptReader(tts._tokenize, speakers=tts._conditioned, padding_between=padding_between)
    script = LiveText(reader, ScriptMachine(tts._text_card, tts._ahead))
    for i, text in enumerate(turns):
        script.turn(i % 2)
        script.feed(text)
    script.end()
    return Session(script, tts._timing, prefix, keep_words=True)


@cache
def run_case(case: str, folder: Path, dtype: str = "float32") -> list[Row]:
    """Say what the reference said in this case, in one batch, at temperature 0."""
    meta, arrays = fixtures.meta(case), fixtures.arrays(case)
    tts = recorded(folder, meta["n_q"], not meta["cfg_is_no_text"], dtype)
    step = tts._step
    cfg = meta["cond_cfg"]
    style = SpeechOptions(
        temperature=0.0,
        guidance=None if meta["cfg_coef"] == 1 else meta["cfg_coef"],
        cfg=None if cfg is None else f"{cfg:.1f}",
        padding_bonus=meta["padding_bonus"],
    )
    rows, said = Batch(step, len(meta["scripts"])), []
    for i, turns in enumerate(meta["scripts"]):
        prefix = arrays.get(f"prefix{i}")
        if prefix is None:
            paths = tuple(folder / name for name in meta["voices"][i])
            speakers = worker.run(tts._prompts.read, paths)
        else:
            speakers = VoicePrompt(f"prefix {i}", prefix=prefix[1:].astype(np.int32))
        session = session_of(tts, turns, speakers.prefix, meta["padding_between"])
        state, conditions = worker.run(tts._prompts.start, speakers, style, 0)
        rows.join(i, session, state, conditions)
        said.append(Row(session, session._first))
    step.said.clear()
    while not all(row.session.done for row in said):
        working = [row for row in said if not row.session.done]
        for i, chunk in rows.run().items():
            said[i].pcm.append(chunk.audio)
        given, codes, _ = step.said[-1]
        for i, row in enumerate(said):
            if row in working:
                row.tokens.append(int(given[i]))
                row.codes.append(codes[i])
    rows.close()
    return said
