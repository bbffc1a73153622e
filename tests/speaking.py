"""Runs a text-to-speech case of the reference and records what every step gave."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import golden as fixtures
import numpy as np

from dsm_mlx.loading.checkpoint import Checkpoint
from dsm_mlx.loading.options import LoadOptions
from dsm_mlx.runtime.batch import Batch
from dsm_mlx.runtime.worker import Worker, complete
from dsm_mlx.tts.core import TtsCore
from dsm_mlx.tts.frame import TtsFrames
from dsm_mlx.tts.machine import ScriptMachine
from dsm_mlx.tts.prompt import SpeechOptions, VoicePrompt
from dsm_mlx.tts.script import ScriptReader
from dsm_mlx.tts.session import LiveText, Session
from dsm_mlx.tts.step import TtsStep


class RecordedStep(TtsStep):
    """Keeps, for every step, the text tokens given and the codes of the frame it completed."""

    def __init__(self, step: TtsStep, null_hears_text: bool):
        super().__init__(step.lm, step.mimi, null_hears_text)
        self.said = []

    def sample_audio(self, state, sampled, text, *rest, **options):
        codes, finite, state = super().sample_audio(state, sampled, text, *rest, **options)
        self.said.append((np.array(text), np.array(codes)[..., 0], options["depth"]))
        return codes, finite, state


@dataclass
class Row:
    """One row of a case: what it was given and said from the end of its prefix on."""

    session: Session
    first: int
    tokens: list[int] = field(default_factory=list)
    codes: list[np.ndarray] = field(default_factory=list)
    pcm: list[np.ndarray] = field(default_factory=list)


def load(folder: Path, **options) -> TtsCore:
    """A model on this thread, which is its worker here."""
    return complete(TtsCore.load(Checkpoint.find(folder, "tts"), LoadOptions(**options)))


@cache
def recorded(folder: Path, codebooks: int, null_hears_text: bool, dtype: str = "float32"):
    """A model with a step that records; cases share it, to compile each graph once."""
    core = load(folder, codebooks=codebooks, dtype=dtype)
    core.use(RecordedStep(core.step, null_hears_text))
    return core


def script_of(core: TtsCore, turns: list[str], padding_between=1) -> LiveText:
    """A script for turns of two speakers by turns, as the reference's are."""
    reader = ScriptReader(core.tokenize, speakers=core.conditioned, padding_between=padding_between)
    machine = ScriptMachine(core.lm.config.text_card, core.config.second_stream_ahead)
    script = LiveText(reader, machine)
    for i, text in enumerate(turns):
        script.turn(i % 2)
        script.feed(text)
    script.end()
    return script


def session_of(
    core: TtsCore, script: LiveText, voice: VoicePrompt, options: SpeechOptions, seed: int = 0
) -> Session:
    state, keys_values = complete(core.prompts.start(voice, options, seed))
    return Session(state, keys_values, script, core.timing, voice.prefix, True, live=False)


@cache
def run_case(
    case: str, folder: Path, dtype: str = "float32", root: Path = fixtures.REFERENCE
) -> list[Row]:
    """Say what the reference said in this case, in one batch, at temperature 0."""
    meta, arrays = fixtures.meta(case, root), fixtures.arrays(case, root)
    core = recorded(folder, meta["n_q"], not meta["cfg_is_no_text"], dtype)
    cfg = meta["cond_cfg"]
    options = SpeechOptions(
        temperature=0.0,
        guidance=None if meta["cfg_coef"] == 1 else meta["cfg_coef"],
        cfg=None if cfg is None else f"{cfg:.1f}",
        padding_bonus=meta["padding_bonus"],
    )
    worker, said = Worker(), []
    batch = Batch(TtsFrames(core.step, core.name), core.name, limit=len(meta["scripts"]))
    worker.add(batch)
    for i, turns in enumerate(meta["scripts"]):
        prefix = arrays.get(f"prefix{i}")
        if prefix is None:
            paths = [folder / name for name in meta["voices"][i]]
            voice = complete(core.prompts.read(tuple(paths), paths))
        else:
            voice = VoicePrompt(f"prefix {i}", prefix=prefix[1:].astype(np.int32))
        script = script_of(core, turns, meta["padding_between"])
        session = session_of(core, script, voice, options)
        batch.join(session)
        said.append(Row(session, session.first))
    core.step.said.clear()
    # In lockstep, as the reference: a session that has ended leaves the others to go on.
    while working := [row for row in said if not row.session.done]:
        steps = batch.steps
        while batch.steps == steps:
            worker.turn()
        given, codes, _ = core.step.said[-1]
        for i, row in enumerate(working):
            row.tokens.append(int(given[i]))
            row.codes.append(codes[i])
    while worker.turn():
        pass
    for row in said:
        row.pcm = [chunk.audio for chunk in row.session.chunks]
    return said


def compared(rows: list[Row], meta: dict, arrays: dict) -> Iterator[tuple[str, list, list]]:
    """What each row said, and what the reference's did: the tokens that the model is given in
    every step until the row has said all, the codes of every frame, when each word began."""
    longest = meta["n_steps"] - meta["n_frames"]
    for i, row in enumerate(rows):
        end = meta["end_steps"][i] + meta["delay_steps"] + meta["final_padding"]
        given = [out for _, out in meta["logged_text_tokens"][i]]
        yield "tokens", row.tokens, given[row.first : end]
        first_frame = max(0, row.first - longest)
        codes = np.stack(row.codes[first_frame + longest - row.first :])
        written = 1 + codes.shape[1]  # of two voices all, also where some are silenced
        expected = arrays["frames"][i, 1:written, first_frame : end - longest]
        yield "codes", codes.tolist(), expected.T.tolist()
        words = [[w.text, round(w.start * 12.5) + row.first] for w in row.session.words]
        yield "words", words, meta["transcripts"][i]
