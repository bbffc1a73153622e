"""Speaking as users do it: whole texts, text in pieces, batches, dialogues, and stopping."""

import random
import shutil
import threading
import time

import golden as fixtures
import mlx.core as mx
import numpy as np
import pytest
from speaking import load, recorded, run_case, script_of, session_of

from dsm_mlx import AudioError, Chunk, load_codec, load_tts
from dsm_mlx.runtime.batch import Batch
from dsm_mlx.runtime.worker import Worker, complete
from dsm_mlx.tts.frame import TtsFrames
from dsm_mlx.tts.prompt import SpeechOptions

TEXT = 'Hello there <break time="200ms"/> my friend, how are you?'


@pytest.fixture(scope="module")
def tts(checkpoint):
    return load_tts(checkpoint("tts-tiny"), dtype="float32")


@pytest.fixture(scope="module")
def whole(tts):
    return tts.synthesize(TEXT, seed=5)


def listen(stream, chunks=None) -> np.ndarray:
    chunks = [] if chunks is None else chunks
    chunks += stream
    return np.concatenate([np.zeros(0, np.float32), *(chunk.audio for chunk in chunks)])


def pieces(text: str, seed: int) -> list[str]:
    rng, found = random.Random(seed), []
    while text:
        cut = rng.randint(1, 9)
        found.append(text[:cut])
        text = text[cut:]
    return found


def test_sound_and_words(tts, whole):
    assert whole.audio.dtype == np.float32 and whole.audio.ndim == 1
    assert whole.sample_rate == tts.sample_rate == 24_000
    assert [word.text for word in whole.words] == ["Hello", "there", "my", "friend,", "how",
                                                   "are", "you?"]  # fmt: skip
    assert whole.words[0].start == pytest.approx(2 / 12.5)  # the padding before the first word
    for word, following in zip(whole.words, whole.words[1:], strict=False):
        assert word.start < word.end <= following.start
    # the break: the second word ends where it begins
    assert whole.words[2].start - whole.words[1].end >= 0.16 - 1e-9
    assert whole.words[-1].end <= len(whole.audio) / 24_000


def test_the_end_is_silent(whole):
    last = np.abs(whole.audio[-480:])
    assert last[-1] == 0 and last[-48:].max() < 0.1 * max(last.max(), 1e-3)
    assert np.abs(whole.audio).max() <= 1


@pytest.mark.parametrize("seed", range(4))
def test_any_split_gives_the_same_speech(tts, whole, seed):
    with tts.stream(seed=5) as stream:
        for piece in pieces(TEXT, seed):
            stream.feed(piece)
        stream.end()
        chunks: list[Chunk] = []
        np.testing.assert_array_equal(listen(stream, chunks), whole.audio)
    words = [word for chunk in chunks for word in chunk.words]
    assert [(w.text, w.start) for w in words] == [(w.text, w.start) for w in whole.words]
    for i, chunk in enumerate(chunks):
        assert all(i <= round(word.start * 12.5, 6) < i + 1 for word in chunk.words)


def test_text_that_comes_while_it_is_spoken_gives_the_same_speech(tts, whole):
    def write():
        for piece in pieces(TEXT, 9):
            time.sleep(0.02)
            stream.feed(piece)
        stream.end()

    with tts.stream(seed=5) as stream:
        writer = threading.Thread(target=write)
        writer.start()
        np.testing.assert_array_equal(listen(stream), whole.audio)
        writer.join()


def test_sound_comes_before_the_text_has_ended(tts):
    with tts.stream() as stream:
        stream.feed("one two three four five six seven eight nine ten eleven twelve ")
        assert next(stream).audio.shape == (1920,)


def test_a_seed_repeats_and_another_differs(tts, whole):
    np.testing.assert_array_equal(tts.synthesize(TEXT, seed=5).audio, whole.audio)
    other = tts.synthesize(TEXT, seed=6).audio
    assert other.shape != whole.audio.shape or not np.array_equal(other, whole.audio)


def test_temperature_0_needs_no_seed(tts):
    one, two = (tts.synthesize("Hi there", temperature=0).audio for _ in range(2))
    np.testing.assert_array_equal(one, two)


def that_samples(folder, **settings):
    """The model of a folder, with these settings in its lm_gen_config."""
    fixtures.edit_json(folder / "config.json", lambda c: c["lm_gen_config"].update(settings))
    return load_tts(folder, dtype="float32")


def test_the_temperature_is_the_checkpoints_own_unless_told(checkpoint, tmp_path, whole):
    cold = that_samples(shutil.copytree(checkpoint("tts-tiny"), tmp_path / "model"), temp=0.0)
    one, two = (cold.synthesize("Hi there", seed=seed).audio for seed in (1, 2))
    np.testing.assert_array_equal(one, two)
    as_before = cold.synthesize(TEXT, seed=5, temperature=0.6)
    np.testing.assert_array_equal(as_before.audio, whole.audio)


def test_the_guidance_is_the_checkpoints_own_unless_told(checkpoint, tmp_path):
    folder = checkpoint("tts-tiny-nativecfg")
    plain = load_tts(folder, dtype="float32")
    guided = that_samples(shutil.copytree(folder, tmp_path / "model"), cfg_coef=2.0)
    own, told, without = (
        model.synthesize("Hi there", seed=1, cfg=cfg).audio
        for model, cfg in ((guided, None), (plain, 2.0), (guided, 1.0))
    )
    np.testing.assert_array_equal(own, told)
    np.testing.assert_array_equal(without, plain.synthesize("Hi there", seed=1).audio)
    assert not np.array_equal(own, without)


def test_rows_of_a_batch_live_their_own_lives(tts, whole):
    """Texts of other lengths, voices and seeds beside it, and rows used again, change nothing."""
    texts = ["A short one.", TEXT, "", "Now something that is rather longer than that", "Yes."]
    voices = ["voice1.wav", None, "voice2.wav", "voice2.wav", "voice0.wav"]
    results = tts.synthesize(texts, voices, seed=[1, 5, 5, 3, 4], batch=2)
    np.testing.assert_allclose(results[1].audio, whole.audio, atol=1e-4)
    assert results[1].words == whole.words
    assert results[2].audio.size == 0 and results[2].words == []
    alone = tts.synthesize(texts[3], voices[3], seed=3)
    np.testing.assert_allclose(results[3].audio, alone.audio, atol=1e-4)
    assert [len(result.words) for result in results] == [3, 7, 0, 8, 1]


def test_a_row_is_left_and_taken_in_the_middle_of_a_frame(checkpoint, whole):
    """What was begun for the one who left must not reach the one who came."""
    core, worker = load(checkpoint("tts-tiny"), dtype="float32"), Worker()
    batch = Batch(TtsFrames(core.step, core.name), core.name, limit=2)
    worker.add(batch)
    path = core.voices.find(core.voices.default())
    voice = complete(core.prompts.read(path, [path]))

    def join(text, seed):
        session = session_of(core, script_of(core, [text]), voice, SpeechOptions(cfg="2.0"), seed)
        batch.join(session)
        return session

    join("One that stays until the very end of all this", 1)
    leaves = join("One that leaves", 2)
    for _ in range(31):  # not at the end of a frame, which is two or three turns
        worker.turn()
    leaves.stop()
    session = join(TEXT, 5)
    while not session.over:
        assert worker.turn()
    heard = [chunk.audio for chunk in session.chunks]
    np.testing.assert_allclose(np.concatenate(heard), whole.audio, atol=1e-4)


def test_a_dialogue_equals_the_reference(tts, golden):
    meta = fixtures.meta("tts_2spk")
    turns = zip(["voice0.wav", "voice1.wav", "voice0.wav"], meta["scripts"][0], strict=True)
    speech = tts.synthesize(list(turns), temperature=0, cfg=1.5)
    assert [[w.text, round(w.start * 12.5)] for w in speech.words] == meta["transcripts"][0]


def test_cancel_from_another_thread(tts):
    with tts.stream() as stream:
        stream.feed("word " * 300)
        stream.end()
        heard = []
        for chunk in stream:
            heard.append(chunk)
            if len(heard) == 3:
                canceller = threading.Thread(target=stream.cancel)
                canceller.start()
                canceller.join()
        assert len(heard) == 3
        with pytest.raises(StopIteration):
            next(stream)


def test_cancel_wakes_one_that_waits_for_text(tts):
    with tts.stream() as stream:
        threading.Timer(0.2, stream.cancel).start()
        start = time.monotonic()
        assert list(stream) == []
        assert time.monotonic() - start < 5


def test_leaving_the_block_cancels(tts):
    with tts.stream() as stream:
        stream.feed("word " * 30)
    assert list(stream) == []


def test_feeding_after_the_end_is_refused(tts):
    with tts.stream() as stream:
        stream.feed("hi")
        stream.end()
        stream.end()
        with pytest.raises(ValueError, match="after end"):
            stream.feed("more")
        with pytest.raises(TypeError, match="expected str"):
            stream.feed(b"bytes")


def test_an_unknown_tag_is_refused_and_the_stream_goes_on(tts):
    expected = tts.synthesize("Hi there", seed=1).audio
    with tts.stream(seed=1) as stream:
        stream.feed("Hi <")
        with pytest.raises(ValueError, match="<b>"):
            stream.feed("b>")
        stream.feed(" there")
        stream.end()
        np.testing.assert_array_equal(listen(stream), expected)


def test_of_a_piece_with_a_bad_tag_the_rest_is_said(tts):
    """Wherever the text was cut: the words before and after the tag are not lost with it."""
    expected = tts.synthesize("Hi there my friend", seed=1).audio
    with tts.stream(seed=1) as stream:
        with pytest.raises(ValueError, match="<b>"):
            stream.feed("Hi <b>there</b> my friend<break")
        with pytest.raises(ValueError, match="<break"):
            stream.end()
        np.testing.assert_array_equal(listen(stream), expected)


@pytest.mark.parametrize("text", ["", " \n ", "🙂", "\x00\x01", "\u200b", "שלום"])
def test_nothing_to_say_is_no_sound(tts, text):
    """The last one is of letters that this tokenizer does not know."""
    speech = tts.synthesize(text)
    assert speech.audio.shape == (0,) and speech.words == []


def test_nothing_to_say_in_a_stream_that_was_begun(tts):
    with tts.stream() as stream:
        threading.Timer(0.3, stream.end).start()
        assert list(stream) == []


@pytest.mark.parametrize("text", ["...", "?", "?!,", "a🙂", '<break time="0.2s"/>'])
def test_punctuation_and_breaks_alone_are_spoken_and_end(tts, text):
    speech = tts.synthesize(text, seed=1)
    assert 0 < speech.audio.size < 24_000 * 6


def test_a_hundred_thousand_words_begin_at_once_and_can_be_stopped(tts):
    with tts.stream(seed=1) as stream:
        stream.feed("word and another " * 33_334)
        stream.end()
        assert sum(len(next(stream).words) for _ in range(60)) >= 4


def test_memory_does_not_grow(tts):
    """A stream of 130 frames, eight times the window, while text keeps coming. What one frame has
    in flight is not counted: of some frames the least is taken."""
    held, ahead = [], 0
    with tts.stream(seed=1) as stream:
        stream.feed("and so it goes on " * 10)
        for i in range(130):
            if ahead < 20:
                stream.feed("and so it goes on " * 10)
            ahead = next(stream).ahead
            if i in range(36, 41) or i in range(125, 130):
                mx.synchronize()  # what is still being computed holds more
                held.append(mx.get_active_memory())
        assert ahead < 80
    assert min(held[5:]) <= min(held[:5]) + 10_000


def test_equal_voices_are_stored_once(checkpoint):
    """Keys and values belong to the voice: another session of it costs its row alone. With
    guidance, the rows without a voice share theirs among all voices of a length."""
    core = load(checkpoint("tts-tiny"), dtype="float32")

    def of(name, options):
        path = core.voices.find(name)
        voice = complete(core.prompts.read(path, [path]))
        return session_of(core, script_of(core, ["Hi"]), voice, options).keys_values

    plain, guided = SpeechOptions(), SpeechOptions(guidance=2.0)
    (one,), (again,) = of("voice0.wav", plain), of("voice0.wav", plain)
    assert one is again and {layer["k"].shape[0] for layer in one} == {1}
    first, second = of("voice0.wav", guided), of("voice1.wav", guided)
    assert first[1] is second[1] and first[0] is not second[0]


def test_the_library_and_the_command_guide_alike(tts):
    """None is what the model was taught to be best, 2.0, for whoever asks."""
    np.testing.assert_array_equal(
        tts.synthesize("Hi there", seed=1).audio, tts.synthesize("Hi there", seed=1, cfg=2.0).audio
    )


def test_two_streams_at_once_do_not_disturb_each_other(tts, whole):
    other = tts.synthesize("Something else", "voice1.wav", seed=8).audio
    with tts.stream(seed=5) as one, tts.stream("voice1.wav", seed=8) as two:
        one.feed(TEXT)
        two.feed("Something else")
        one.end()
        two.end()
        found: list[list] = [[], []]
        while chunks := [next(stream, None) for stream in (one, two)]:
            if chunks == [None, None]:
                break
            for i, chunk in enumerate(chunks):
                found[i] += [chunk.audio] if chunk else []
    np.testing.assert_array_equal(np.concatenate(found[0]), whole.audio)
    np.testing.assert_array_equal(np.concatenate(found[1]), other)


def test_fewer_codebooks_speak(checkpoint):
    speech = load_tts(checkpoint("tts-tiny"), codebooks=2).synthesize("Hi there", seed=1)
    assert speech.audio.size and [word.text for word in speech.words] == ["Hi", "there"]


@pytest.mark.parametrize("codebooks", [1, 2, 8])
def test_every_frame_that_sounds_has_all_its_codes(checkpoint, codebooks):
    """A frame is complete after the longest delay of the codebooks in use, and not before."""
    core, worker = recorded(checkpoint("tts-tiny"), codebooks, False), Worker()
    core.step.said.clear()
    batch = Batch(TtsFrames(core.step, core.name), core.name)
    worker.add(batch)
    path = core.voices.find(core.voices.default())
    voice = complete(core.prompts.read(path, [path]))
    session = session_of(core, script_of(core, ["Hi there"]), voice, SpeechOptions(0.0))
    batch.join(session)
    while not session.over:
        worker.turn()
    frames = len(session.chunks)
    codes = np.stack([codes[0] for _, codes, _ in core.step.said])
    assert codes.shape[1] == codebooks
    assert (codes[-frames:] >= 0).all() and (codes[-frames - 1] < 0).all()
    # the depth decoder does not run in the delay
    assert [depth for *_, depth in core.step.said] == [i >= 4 for i in range(len(codes))]


def test_quantised_speaks(checkpoint):
    speech = load_tts(checkpoint("tts-tiny"), bits=4).synthesize("Hi there", seed=1)
    assert speech.audio.size and [word.text for word in speech.words] == ["Hi", "there"]


def test_padding_bonus_slows(tts):
    plain, slow = (tts.synthesize(TEXT, seed=2, padding_bonus=bonus) for bonus in (-8.0, 8.0))
    assert slow.audio.size > plain.audio.size


def test_saved_as_wav(whole, tmp_path):
    from dsm_mlx.audio import read

    whole.save(tmp_path / "a.wav")
    np.testing.assert_allclose(read(tmp_path / "a.wav"), whole.audio, atol=1e-4)
    with pytest.raises(AudioError):
        whole.save(tmp_path / "missing" / "a.wav")


def test_saved_as_what_the_name_ends_in(whole, tmp_path):
    whole.save(tmp_path / "a.flac")
    assert (tmp_path / "a.flac").read_bytes()[:4] == b"fLaC"
    with pytest.raises(ValueError, match=r"expected .*\.flac"):
        whole.save(tmp_path / "a.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["a.flac"]


def test_the_sound_after_a_prefix_goes_on_from_it(checkpoint, golden):
    """The decoder has heard the voice, too: as if all was decoded and the prefix cut off."""
    meta, arrays = fixtures.meta("tts_public_prefix"), golden("tts_public_prefix")
    folder = checkpoint(meta["checkpoint"])
    row = run_case("tts_public_prefix", folder)[0]
    codes = arrays["frames"][:, 1:, meta["delay_steps"] :].astype(np.int32)
    pcm = load_codec(folder).decode(codes)[0, 0, row.first * 1920 :]
    found = np.concatenate(row.pcm)
    np.testing.assert_allclose(found[:-480], np.clip(pcm, -1, 1)[: len(found)][:-480], atol=1e-4)
