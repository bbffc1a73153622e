"""Prompts: the tokens of the reference's script, and what of them is told; kept, forked, saved.

In `stt_*_prompt` the first 14 of the 60 frames of `stt_tiny_e2e` are the prompt's sound.
"""

import sys
from functools import partial

import numpy as np
import pytest
from streaming import all_free, fed, forked, own, rest, resumed, sound, without_partials, words
from streaming import never_for_ever as never_for_ever

import dsm_mlx
from dsm_mlx import AudioError, BusyError, Pause, Prompt, Word
from dsm_mlx.runtime import worker
from dsm_mlx.stt import prompt as prompts
from dsm_mlx.stt.prompt import PromptCache, ReadPrompt
from dsm_mlx.stt.steering import Forcing
from dsm_mlx.stt.words import WordReader

FRAME, RATE = 1920, 24_000
TEXTS = {"stt-tiny": "we knew", "stt-tiny-26": "let us"}
CASES = [(name, case) for name in TEXTS for case in ("text", "audio", "both")]
CASES.remove(("stt-tiny-26", "text"))  # its second of silence is half a frame longer in the script
PCM = sound(1.6, seed=7)


@pytest.fixture(scope="module")
def stt(small, tmp_path_factory):
    return dsm_mlx.load_stt(own(small("stt-tiny"), tmp_path_factory.mktemp("prompt")))


@pytest.fixture(scope="module")
def delayed(small):
    return dsm_mlx.load_stt(small("stt-tiny-26"))


def spoken(seed=3, seconds=0.9):
    return Prompt("we", sound(seconds, seed), RATE)


@pytest.fixture
def tokens(monkeypatch):
    """Every token that is said, a prompt's first."""
    said, push = [], WordReader.push

    def spy(self, frame, token, probability=1.0):
        said.append(token)
        return push(self, frame, token, probability)

    monkeypatch.setattr(WordReader, "push", spy)
    return said


@pytest.mark.parametrize(("name", "case"), CASES)
def test_tokens_are_those_of_the_script(checkpoint, golden, tokens, name, case):
    pcm, known = golden("stt_tiny_e2e")["pcm"].ravel(), golden(name.replace("-", "_") + "_prompt")
    audio = None if case == "text" else pcm[: 14 * FRAME]
    prompt = Prompt(None if case == "audio" else TEXTS[name], audio, audio is not None and RATE)
    expected = known[f"{case}_tokens"]
    with dsm_mlx.load_stt(checkpoint(name), dtype="float32") as stt:
        events = fed(stt, pcm[14 * FRAME :], prompt=prompt)
        timing, tokenizer = stt._core.timing(stt.delay), stt._core.tokenizer
    assert len(tokens) >= len(expected) > 46
    np.testing.assert_array_equal(tokens[: len(expected)], expected)
    # None of the prompt's time, and none of its words, is told.
    pauses = [event.time for event in events if isinstance(event, Pause)]
    assert pauses == pytest.approx([0.08 * i for i in range(1, 47)])
    frames = 0 if case == "text" else -(-timing.prefix // FRAME) + 14 + 10
    own = told_by(expected, tokenizer, 2 - timing.delay - 1 - frames, -5 if frames else -99)
    told = [event.text for event in events if isinstance(event, Word)]
    assert len(own) > 3 and told[: len(own) - 1] == own[:-1]
    assert told[0].startswith("we") == (case == "text")


def told_by(tokens, tokenizer, shift, since):
    """Words that begin at the frame `since` or later; the first of the tokens is at `shift`."""
    found, inside = [], False
    for at, token in enumerate(tokens.tolist()):
        if token not in (0, 3):
            if not inside or tokenizer.id_to_piece(token).startswith("\u2581"):
                found.append((at + shift, []))
            found[-1][1].append(token)
        inside = token not in (0, 3)
    texts = [tokenizer.decode(ids).strip() for at, ids in found if at >= since]
    return [text for text in texts if text]


def test_a_word_of_the_prompt_is_not_shown_while_it_is_in_progress(small):
    reader = WordReader(dsm_mlx.load_stt(small("stt-tiny"))._core.tokenizer, 31)
    reader.since = -5
    reader.push(0, 0)
    assert reader.push(1, 41) == [] and reader.partial == ""
    assert reader.push(2, 3) == []
    reader.push(30, 0)
    reader.push(31, 41)
    assert reader.partial == "we" and [word.text for word in reader.finish()] == ["we"]
    again = WordReader(reader._tokenizer, 31)
    again.restore(reader.plain(), later=7)
    assert (again.since, again.start) == (2, reader.start + 7)


def test_heard_once(stt, monkeypatch):
    """By streams one after another, recordings, forks; also with other seeds and temperatures."""
    heard, hear = [], PromptCache._hear

    def spy(self, prompt, *rest):
        heard.append(prompt.digest)
        return (yield from hear(self, prompt, *rest))

    monkeypatch.setattr(PromptCache, "_hear", spy)
    worker.run(stt._core.prompts._kept.clear)
    first = fed(stt, PCM, prompt=spoken())
    assert fed(stt, PCM, prompt=spoken()) == first
    results = stt.transcribe([PCM] * 3, sample_rate=RATE, prompt=spoken(), batch=2)
    assert all(words(r.words) == words(results[0].words) for r in results)
    drawn = [fed(stt, PCM, prompt=spoken(), temperature=0.9, seed=seed) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(heard) == 1
    fed(stt, PCM, prompt=spoken(seed=4))
    fed(stt, PCM, prompt=Prompt("we"))
    assert len(heard) == len(set(heard)) == 3
    assert all_free(stt)


def test_what_is_kept_is_bounded(stt, monkeypatch):
    cache = stt._core.prompts
    monkeypatch.setattr(prompts, "_KEPT", 2)
    for seed in range(4):
        stt.stream(prompt=spoken(seed, 0.2)).close()
    assert len(cache._kept) == 2
    monkeypatch.setattr(prompts, "_KEPT_BYTES", 1)
    stt.stream(prompt=spoken(9, 0.2)).close()
    assert len(cache._kept) == 1
    kept = next(iter(cache._kept.values())).state["lm"]["rings"][0]
    assert kept.shape[3] == 14 < stt._core.lm.config.transformer.context  # 3 + 10 frames and one
    worker.run(cache._kept.clear)


def test_a_single_row_is_enough(small, tmp_path):
    with dsm_mlx.load_stt(own(small("stt-tiny"), tmp_path), max_streams=1) as stt:
        events = fed(stt, PCM, prompt=spoken())
        with stt.stream(prompt=spoken()) as stream:
            with pytest.raises(BusyError):
                stt.stream(prompt=spoken())
            assert stream.feed(PCM) + stream.flush() == events


@pytest.mark.thorough
@pytest.mark.parametrize("temperature", [0.0, 0.8])
@pytest.mark.parametrize(
    "prompt", [spoken(), Prompt("we knew it is"), Prompt(audio=PCM, sample_rate=RATE)]
)
@pytest.mark.parametrize("model", ["stt", "delayed"])
def test_forked_and_saved_on_the_way(model, prompt, temperature, request):
    """In the middle of what is forced, too; and after a reset the prompt is heard again."""
    stt = request.getfixturevalue(model)
    options = {"prompt": prompt, "temperature": temperature, "seed": 5}

    def play(between):
        stream, events = stt.stream(**options), []
        for start in range(0, PCM.size, 2500):
            stream = between(stream)
            events += stream.feed(PCM[start : start + 2500])
        stream = between(stream)
        events += stream.reset()
        stream = between(stream)
        events += stream.feed(PCM) + stream.flush()
        stream.close()
        return events

    whole = play(lambda stream: stream)
    assert play(forked) == whole and play(partial(resumed, stt)) == whole
    assert all_free(stt)


def test_a_reset_hears_the_sound_of_a_prompt_again(stt):
    """As a new stream with the same prompt would; text alone is of the beginning only."""
    for prompt, again in ((spoken(), spoken()), (Prompt("we knew"), None)):
        with stt.stream(prompt=prompt) as stream:
            stream.feed(PCM)
            stream.reset()
            after = stream.feed(PCM) + stream.flush()
        told = [event.text for event in after if isinstance(event, Word)]
        new = [event.text for event in fed(stt, PCM, prompt=again) if isinstance(event, Word)]
        assert told == new


def test_text_that_does_not_come_is_let_go(stt, tokens):
    """Until then nothing else is said, after it the model is free."""
    forcing = Forcing([9, 8], left=3, patience=2)
    for token in (3, 9, 0):
        assert forcing.wish().only and forcing
        forcing.push(token)
    assert forcing.wish().ids == (0, 3, 8)
    forcing.push(3)
    assert not forcing
    never = Prompt(" ".join(["we knew it is the even"] * 2))
    patience = round(prompts.PATIENCE * 12.5) + stt._core.timing(stt.delay).delay
    fed(stt, np.zeros(20 * RATE, np.float32), prompt=never)
    ids = stt._core.tokenizer.encode(never.text)
    said = [token for token in tokens if token not in (0, 3)]
    forced = next(i for i, (a, b) in enumerate(zip(said, [*ids, -1], strict=False)) if a != b)
    free = tokens.index(said[forced]) if forced < len(said) else len(tokens)
    assert forced <= len(ids) and free <= (forced + 1) * patience + 1
    assert len(said) > forced, "the model never says anything else"


def test_rows_that_begin_with_a_prompt_share_a_batch_with_others(stt):
    alone = [fed(stt, PCM, prompt=prompt) for prompt in (None, spoken(), Prompt("we knew"))]
    streams = [stt.stream(prompt=prompt) for prompt in (None, spoken(), Prompt("we knew"))]
    for start in range(0, PCM.size, 4000):
        for stream in streams:
            stream.give(PCM[start : start + 4000])
    assert [without_partials(rest(stream)) for stream in streams] == alone


@pytest.mark.parametrize(
    ("fields", "error", "told"),
    [
        ({}, ValueError, "a prompt has neither text nor audio"),
        ({"text": " \n"}, ValueError, r"the prompt's text is ' \\n' \(expected words\)"),
        ({"text": 7}, TypeError, r"the prompt's text is 7 \(expected str\)"),
        (
            {"text": "we 日本"},
            ValueError,
            "the prompt's text has '日本' .expected what the model's",
        ),
        ({"text": "we " * 1001}, ValueError, "1001 tokens, expected at most 1000"),
        ({"audio": "nowhere.wav"}, AudioError, "nowhere.wav"),
        ({"audio": PCM}, ValueError, "sample_rate"),
        ({"audio": 7}, TypeError, "7"),
        ({"audio": np.zeros(0, np.float32), "sample_rate": RATE}, AudioError, "array"),
        ({"audio": np.zeros(99 * RATE), "sample_rate": RATE}, AudioError, "99.0 s of sound"),
    ],
)
def test_a_prompt_that_is_none_is_told_at_the_call(stt, fields, error, told):
    for call in (stt.stream, lambda prompt: stt.transcribe_events([PCM], prompt=prompt)):
        with pytest.raises(error, match=told):
            call(prompt=Prompt(**fields))
    assert all_free(stt)


def test_a_prompt_is_a_prompt(stt):
    with pytest.raises(TypeError, match=r"prompt is 'we' \(expected a Prompt or None\)"):
        stt.stream(prompt="we")


def test_kept_in_bytes_as_it_was(stt):
    core, prompt = stt._core, spoken()
    read = ReadPrompt.of(prompt, core.step, core.tokenizer)
    again = ReadPrompt.restored(read.plain, core.step, core.tokenizer)
    assert again.digest == read.digest and again.plain == read.plain
    assert read.digest != ReadPrompt.of(spoken(5), core.step, core.tokenizer).digest
    assert sys.getsizeof(read.plain["pcm"]) < 6 * read.pcm.size
