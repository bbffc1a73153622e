"""Voices: where they are found, what is refused, and cloning from sound."""

import shutil

import mlx.core as mx
import numpy as np
import pytest
import soundfile
from golden import edit_json
from safetensors.numpy import save_file
from speaking import load

from dsm_mlx import AudioError, CheckpointError, load_codec, load_tts
from dsm_mlx.files.hub import HubFiles, LocalFiles
from dsm_mlx.loading.voices import DEFAULT_VOICE, REPOSITORY, Voices, join_speakers, read_embedding
from dsm_mlx.runtime.worker import complete

SUFFIX = ".deadbeef@7.safetensors"


@pytest.fixture(scope="module")
def tts(checkpoint):
    return load_tts(checkpoint("tts-tiny"), dtype="float32")


@pytest.fixture(scope="module")
def cloner(checkpoint):
    return load_tts(checkpoint("tts-tiny-public"), dtype="float32")


@pytest.fixture
def folder(checkpoint, tmp_path):
    """A copy of a checkpoint to change."""
    return shutil.copytree(checkpoint("tts-tiny"), tmp_path / "model")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty hub cache and no network; returns a function that puts a file into the cache."""
    import huggingface_hub
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    real = huggingface_hub.hf_hub_download

    def download(repository, file, **options):
        if not options.get("local_files_only"):
            raise OSError("no network here")
        return real(repository, file, cache_dir=tmp_path, **options)

    def no_network(*_):
        raise OSError("no network here")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(huggingface_hub, "list_repo_files", no_network)

    def put(repository, file, source):
        root, commit = tmp_path / f"models--{repository.replace('/', '--')}", "0" * 40
        path = root / "snapshots" / commit / file
        path.parent.mkdir(parents=True)
        shutil.copy(source, path)
        (root / "refs").mkdir()
        (root / "refs/main").write_text(commit)
        return path

    return put


def sound(path, seconds, rate=24_000):
    """A sweep that is not silent anywhere."""
    t = np.arange(round(seconds * rate)) / rate
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * (200 + 90 * t) * t), rate)
    return path


def write_voice(path, frames=10, width=24, name="speaker_wavs", metadata=None):
    voice = mx.random.normal((1, width, frames), key=mx.random.key(frames))
    # Not by MLX, which refuses an array without elements before 0.31.
    save_file({name: np.array(voice)}, path, metadata)
    return path


def test_names_are_those_beside_the_model(tts, folder):
    assert tts.voices() == ["voice0.wav", "voice1.wav", "voice2.wav"]
    (folder / "more").mkdir()
    write_voice(folder / f"more/low.wav{SUFFIX}")
    write_voice(folder / "other.wav.12345678@9.safetensors")
    model = load_tts(folder)
    assert model.voices() == ["more/low.wav", "voice0.wav", "voice1.wav", "voice2.wav"]
    assert model.synthesize("Hi", "more/low.wav").audio.size


def test_a_model_that_does_not_say_who_it_is_has_only_voices_for_voices(folder):
    """Any .safetensors may be a voice then, but not the weights of the model and its codec."""
    edit_json(folder / "config.json", lambda c: c.pop("model_id"))
    (folder / "broken.safetensors").write_bytes(b"not a voice at all")
    model = load_tts(folder)
    assert model.voices() == [f"voice{i}.wav.deadbeef@7" for i in range(3)]
    assert model.synthesize("Hi").audio.size


def test_a_name_a_path_and_a_path_without_its_end_are_the_same(tts, checkpoint):
    file = checkpoint("tts-tiny") / f"voice1.wav{SUFFIX}"
    found = [
        tts.synthesize("Hi there", voice, seed=1).audio
        for voice in ("voice1.wav", file, str(file), str(file).removesuffix(SUFFIX))
    ]
    assert all(np.array_equal(audio, found[0]) for audio in found)
    other = tts.synthesize("Hi there", "voice0.wav", seed=1).audio
    assert other.shape != found[0].shape or not np.array_equal(other, found[0])


def test_no_voice_is_the_first_one(tts):
    named = tts.synthesize("Hi there", "voice0.wav", seed=1).audio
    np.testing.assert_array_equal(tts.synthesize("Hi there", seed=1).audio, named)


def test_a_model_without_any_voice_says_where_they_are(folder):
    for file in folder.glob("voice*"):
        file.unlink()
    with pytest.raises(CheckpointError, match=REPOSITORY):
        load_tts(folder).synthesize("Hi")


@pytest.mark.parametrize(
    "voice", ["nobody", "../voice0.wav", "/nowhere/voice0.wav", "", "hf://kyutai"]
)
def test_a_voice_that_is_not_there(tts, voice):
    with pytest.raises(CheckpointError, match="voice"):
        tts.synthesize("Hi", voice)


def test_cloning_is_refused_plainly(tts, tmp_path):
    path = sound(tmp_path / "me.wav", 3)
    with pytest.raises(CheckpointError, match=r"not released.*tts-0\.75b"):
        tts.synthesize("Hi", path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metadata": {"sig": "12345678", "epoch": "7"}}, "another model"),
        ({"width": 12}, r"\[1, 12, 10\] \(expected \[1, 24, frames\]\)"),
        ({"frames": 0}, "expected"),
        ({"name": "something"}, "speaker_wavs is"),
    ],
)
def test_a_voice_file_that_does_not_fit(tts, tmp_path, options, message):
    path = write_voice(tmp_path / "v.safetensors", **options)
    with pytest.raises(CheckpointError, match=message) as error:
        tts.synthesize("Hi", path)
    assert str(path) in str(error.value)


def test_a_voice_file_that_is_damaged(tts, tmp_path):
    path = write_voice(tmp_path / "v.safetensors")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(CheckpointError, match="cut short"):
        tts.synthesize("Hi", path)
    path.write_bytes(b"not a voice at all")
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        tts.synthesize("Hi", path)


def test_a_voice_file_that_changes_is_read_again(tts, tmp_path):
    path = write_voice(tmp_path / "v.safetensors", frames=10)
    first = tts.synthesize("Hi there", path, seed=1).audio
    path.unlink()
    write_voice(path, frames=12)
    second = tts.synthesize("Hi there", path, seed=1).audio
    assert first.shape != second.shape or not np.array_equal(first, second)


def test_voices_of_other_lengths_in_one_call(tts, tmp_path):
    """They cannot share a batch, because there is no mask; their results do not change."""
    long = write_voice(tmp_path / "v.safetensors", frames=17)
    both = tts.synthesize(["Hi there", "Hi there"], [long, "voice0.wav"], seed=1)
    for voice, result in zip((long, "voice0.wav"), both, strict=True):
        alone = tts.synthesize("Hi there", voice, seed=1)
        np.testing.assert_array_equal(result.audio, alone.audio)


def test_five_speakers_but_no_six(tts, tmp_path):
    voices = [write_voice(tmp_path / f"{i}.safetensors", frames=10 + i) for i in range(6)]
    turns = [(voice, "Hello") for voice in voices]
    speech = tts.synthesize(turns[:5], temperature=0)
    assert len(speech.words) == 5
    with pytest.raises(ValueError, match="6 voices"):
        tts.synthesize(turns)


def test_slots_are_as_long_as_the_longest_voice():
    voices = [mx.ones((2, 3)), 2 * mx.ones((4, 3))]
    values, mask = join_speakers(voices, 3)
    assert values.shape == (1, 12, 3)
    assert mask[0].tolist() == [True] * 2 + [False] * 2 + [True] * 4 + [False] * 4
    assert values[0, :, 0].tolist() == [1, 1, 0, 0, 2, 2, 2, 2, 0, 0, 0, 0]


def test_a_voice_of_the_hub_is_taken_from_the_cache(tts, hub, checkpoint):
    file = checkpoint("tts-tiny") / f"voice1.wav{SUFFIX}"
    hub("someone/voices", f"deep/v.wav{SUFFIX}", file)
    found = tts.synthesize("Hi there", "hf://someone/voices/deep/v.wav", seed=1).audio
    expected = tts.synthesize("Hi there", "voice1.wav", seed=1).audio
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(CheckpointError, match=r"cannot be reached|no network here"):
        tts.synthesize("Hi", "hf://someone/voices/other.wav")


def test_a_model_of_the_hub_has_the_voices_of_the_repository(hub, checkpoint):
    path = hub(REPOSITORY, f"deep/v.wav{SUFFIX}", checkpoint("tts-tiny") / f"voice1.wav{SUFFIX}")
    voices = Voices(HubFiles("kyutai/tts-1.6b-en_fr"), SUFFIX)
    assert voices.names() == ["deep/v.wav"]
    assert voices.find("deep/v.wav") == path
    assert voices.default() == DEFAULT_VOICE
    with pytest.raises(CheckpointError, match="nobody"):
        voices.find("nobody")


def test_without_a_cache_there_are_no_names(hub):
    assert Voices(HubFiles("kyutai/tts-1.6b-en_fr"), SUFFIX).names() == []


def test_cloning_hears_the_codes_of_the_sound(cloner, checkpoint, tmp_path):
    """All but the last two frames, as the reference does."""
    path = sound(tmp_path / "me.wav", 1.2)
    pcm, _ = soundfile.read(path, dtype="float32")
    codes = load_codec(checkpoint("tts-tiny-public")).encode(pcm[None, None])[0]
    core = load(checkpoint("tts-tiny-public"))
    voice = complete(core.prompts.read("me", [path], core.prompts.sound_of(path)))
    assert codes.shape == (8, 15)
    np.testing.assert_array_equal(voice.prefix, codes[:, :-2])


def test_cloning_from_a_file_of_any_rate(cloner, tmp_path):
    path = sound(tmp_path / "me.wav", 1.0, rate=16_000)
    speech = cloner.synthesize("Hello there", path, seed=3)
    again = cloner.synthesize("Hello there", str(path), seed=3)
    np.testing.assert_array_equal(speech.audio, again.audio)
    assert speech.words[0].start == pytest.approx(0.16)  # the voice itself is not heard
    plain = cloner.synthesize("Hello there", seed=3)
    assert plain.audio.shape != speech.audio.shape or not np.array_equal(plain.audio, speech.audio)


def test_two_clones_in_one_batch(cloner, tmp_path):
    voices = [sound(tmp_path / "a.wav", 0.6), sound(tmp_path / "b.wav", 1.2), None]
    texts = ["Hello there", "How are you?", "Fine"]
    together = cloner.synthesize(texts, voices, seed=3, cfg=3.0)
    for text, voice, result in zip(texts, voices, together, strict=True):
        alone = cloner.synthesize(text, voice, seed=3, cfg=3.0)
        np.testing.assert_allclose(result.audio, alone.audio, atol=1e-4)


@pytest.mark.parametrize("seconds", [0.1, 0.16, 2.0])
def test_sound_of_the_wrong_length(cloner, tmp_path, seconds):
    """The tiny model sees 16 frames; a longer voice would be forgotten before the first word."""
    with pytest.raises(AudioError, match=r"0\.3 to 1\.3 s"):
        cloner.synthesize("Hi", sound(tmp_path / "me.wav", seconds))


def test_a_model_that_clones_has_one_voice(cloner, checkpoint, tmp_path):
    path = sound(tmp_path / "me.wav", 1.0)
    with pytest.raises(ValueError, match="2 voices"):
        cloner.synthesize([(path, "Hi"), (None, "you")])
    with pytest.raises(CheckpointError, match=r"\.wav"):
        cloner.synthesize("Hi", checkpoint("tts-tiny") / f"voice0.wav{SUFFIX}")
    (tmp_path / "text.wav").write_text("not sound")
    with pytest.raises(AudioError):
        cloner.synthesize("Hi", tmp_path / "text.wav")


def test_a_model_that_clones_lists_sound(tmp_path):
    sound(tmp_path / "me.wav", 0.5)
    (tmp_path / "config.json").write_text("{}")
    assert Voices(LocalFiles(tmp_path), "").names() == ["me.wav"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cfg": 2.2}, "knows 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"padding_bonus": float("inf")}, "padding_bonus"),
        ({"seed": -1}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"batch": 0}, "batch"),
        ({"voice": ["voice0.wav", "voice1.wav"]}, "2 voices for 1 texts"),
        ({"text": [("voice0.wav", "a", "b")]}, "voice, text"),
        ({"text": 3}, "text"),
        ({"text": [3]}, "text"),
    ],
)
def test_a_value_out_of_range(tts, options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        tts.synthesize(**{"text": "Hi"} | options)


def test_an_empty_list_gives_an_empty_list(tts):
    assert tts.synthesize([]) == []


def test_the_kind_of_model_must_be_right(checkpoint):
    with pytest.raises(CheckpointError, match="stt"):
        load_tts(checkpoint("stt-tiny"))


def test_embeddings_are_read_in_any_dtype(tmp_path):
    path = tmp_path / "v.safetensors"
    voice = mx.random.normal((1, 24, 10), key=mx.random.key(1))
    mx.save_safetensors(str(path), {"speaker_wavs": voice.astype(mx.bfloat16)})
    found = read_embedding(path, 24, {})
    assert found.shape == (10, 24) and found.dtype == mx.float32


def test_a_voice_by_its_embedding(tts, checkpoint):
    """As the file says it, in either of its shapes; two of them in a dialogue, too."""
    files = [checkpoint("tts-tiny") / f"voice{i}.wav{SUFFIX}" for i in (0, 1)]
    stored = [np.array(mx.load(str(file))["speaker_wavs"]) for file in files]
    named = tts.synthesize("Hi there", "voice1.wav", seed=1).audio
    for embedding in (stored[1], stored[1][0].T, mx.array(stored[1])):
        np.testing.assert_array_equal(tts.synthesize("Hi there", embedding, seed=1).audio, named)
    one, two = stored
    by_arrays = tts.synthesize([(one, "Hello."), (two, "Hi!"), (one, "So.")], seed=1)
    by_names = [("voice0.wav", "Hello."), ("voice1.wav", "Hi!"), ("voice0.wav", "So.")]
    np.testing.assert_array_equal(by_arrays.audio, tts.synthesize(by_names, seed=1).audio)
    for wrong in (stored[0][:, :5], np.full_like(stored[0], np.nan), 5):
        with pytest.raises((ValueError, TypeError), match="voice"):
            tts.synthesize("Hi", wrong)
