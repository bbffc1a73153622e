"""`gain="auto"`: sound that is far off is put right, all else stays as it is, bit for bit."""

import time
from pathlib import Path

import numpy as np
import pytest
from streaming import RATE, all_free, fed, own, rest, sound, without_partials
from streaming import never_for_ever as never_for_ever

import dsm_mlx
from dsm_mlx.audio import read
from dsm_mlx.cli.transcribe_args import parse
from dsm_mlx.stt import level as levels
from dsm_mlx.stt.level import Level, gain_for

FRAME = 1920
DEMOS = Path(__file__).parents[1] / "demos" / "audio"
SPEECH = [read(DEMOS / name) for name in ("bus.wav", "cat.flac", "snow.ogg")]


def corrected(pcm, level=None):
    """The sound as it is heard, and the gain in decibels at the end of each frame."""
    level, found, gains = level or Level(), [], []
    for start in range(0, pcm.size, FRAME):
        found.append(level.push(pcm[start : start + FRAME].copy()))
        gains.append(level.last[0])
    return np.concatenate(found), np.array(gains)


def decibels(pcm):
    """Of its louder frames."""
    frames = pcm[: pcm.size // FRAME * FRAME].reshape(-1, FRAME)
    root = np.sqrt((frames - frames.mean(1, keepdims=True)).__pow__(2).mean(1)) + 1e-9
    found = 20 * np.log10(root)
    return found[found > found.max() - 20].mean()


def noise(seconds, level, seed=0):
    made = level * np.random.default_rng(seed).standard_normal(round(seconds * RATE))
    return made.astype(np.float32)


@pytest.mark.parametrize("pcm", SPEECH, ids=("bus", "cat", "snow"))
@pytest.mark.parametrize("change", [-4, 0, 6])
def test_sound_of_a_right_level_stays_as_it_is(pcm, change):
    pcm = (pcm * 10 ** (change / 20)).clip(-1, 1).astype(np.float32)
    np.testing.assert_array_equal(corrected(pcm)[0], pcm)


@pytest.mark.parametrize("pcm", SPEECH, ids=("bus", "cat", "snow"))
@pytest.mark.parametrize("change", [-30, -40])
@pytest.mark.parametrize("offset", [0.0, 0.1])
def test_soft_speech_is_raised_and_an_offset_goes(pcm, change, offset):
    soft = (pcm * 10 ** (change / 20) + offset).astype(np.float32)
    found, gains = corrected(soft)
    assert found.dtype == np.float32 and found.size == pcm.size
    assert abs(decibels(found) - levels.AIM) < 12
    assert gains.max() <= levels.MOST and (gains[20:] > gains[-1] - 6).all()
    assert abs(found[RATE // 2 :].mean()) < 0.003


def test_a_level_that_changes_is_followed_and_stands_still_in_pauses():
    soft = (SPEECH[2] * 0.01).astype(np.float32)
    pause = noise(10, 1e-5)
    _, gains = corrected(np.concatenate([soft, pause, soft]))
    begins, ends = soft.size // FRAME + 1, (soft.size + pause.size) // FRAME - 1
    assert np.ptp(gains[begins + 2 : ends]) < 1e-9
    assert np.abs(np.diff(gains[20:])).max() <= 6
    loud = np.concatenate([soft, pause, SPEECH[2]])
    assert abs(corrected(loud)[1][-1]) < 1


def test_nothing_is_cut():
    """What was soft and gets loud at once is bent, below the peak."""
    found, _ = corrected(np.concatenate([SPEECH[2] * np.float32(0.01), SPEECH[0]]))
    assert 0.8 < np.abs(found).max() < 0.981
    loud, gains = corrected(np.concatenate([(30 * SPEECH[2]).clip(-1, 1)] * 2))
    assert gains.min() < -1 and np.abs(loud).max() <= 1


def test_noise_and_silence_are_not_raised():
    for pcm in (noise(20, 0.001), noise(20, 0.02), np.zeros(5 * RATE, np.float32)):
        np.testing.assert_array_equal(corrected(pcm)[0], pcm)
    soft = SPEECH[2] * np.float32(0.01)
    hiss = noise(soft.size / RATE, 0.001 * float(np.sqrt(np.mean(SPEECH[2] ** 2))) * 2)
    _, gains = corrected(np.concatenate([soft + hiss[: soft.size], hiss, hiss]))
    floor = 20 * np.log10(hiss.std())
    assert gains[-1] > 10 and floor + gains[-1] < -40


def test_the_gain_is_continuous():
    speech = np.arange(-120, 20, 0.01)
    gains = np.array([gain_for(level) for level in speech])
    assert np.abs(np.diff(gains)).max() < 0.05 and np.abs(gains).max() <= levels.MOST
    right = (speech >= levels.LOW) & (speech <= levels.HIGH)
    assert not gains[right].any() and gains[~right].all()
    assert (np.diff(speech + gains) > -0.03).all() or (speech + gains)[speech < -66].max() < -25


def test_parts_of_a_frame():
    level = Level()
    for size in (0, 1, 7, 1919):
        assert level.push(np.full(size, 1e-4, np.float32)).size == size


def test_it_is_cheap():
    """Of a frame's 80 ms; the bound is far above, for busy machines."""
    level, frames = Level(), np.split(SPEECH[2][: 100 * FRAME] * np.float32(0.01), 100)
    start = time.process_time()
    for frame in frames:
        level.push(frame)
    assert (time.process_time() - start) / 100 < 0.005


# ---- in streams

SOFT = sound(2.4) * np.float32(0.003) + np.float32(0.05)


@pytest.fixture(scope="module")
def stt(small, tmp_path_factory):
    return dsm_mlx.load_stt(own(small("stt-tiny"), tmp_path_factory.mktemp("level")))


@pytest.fixture(scope="module")
def delayed(small):
    """With a prefix that is no whole number of frames."""
    return dsm_mlx.load_stt(small("stt-tiny-26"))


@pytest.mark.thorough
@pytest.mark.parametrize("model", ["stt", "delayed"])
def test_any_pieces_give_the_same(model, request):
    stt = request.getfixturevalue(model)
    pcm = np.concatenate([SOFT, noise(1, 0.003), SOFT])
    whole = fed(stt, pcm, pcm.size, gain="auto")
    assert model == "delayed" or whole != fed(stt, pcm)  # which says nothing here
    for chunk in (777, 1920, 5000):
        assert fed(stt, pcm, chunk, gain="auto") == whole
    file = stt.transcribe([pcm, SOFT], sample_rate=RATE, gain="auto")
    assert [word.start for word in file[0].words] == [
        word.start for word in whole if isinstance(word, dsm_mlx.Word)
    ]
    assert file == [stt.transcribe(one, sample_rate=RATE, gain="auto") for one in (pcm, SOFT)]


def test_none_and_right_sound_are_bit_for_bit_the_same(stt, monkeypatch):
    pcm = sound(1) * np.float32(0.5)
    assert fed(stt, pcm, gain="auto") == fed(stt, pcm, gain=None) == fed(stt, pcm)
    monkeypatch.setattr(Level, "push", None)  # which nobody calls
    fed(stt, SOFT)


def begins(decibels):
    """Half a second of silence, then a word: so loud at first, and then ten times as loud."""
    t = np.arange(12 * FRAME) / RATE
    word = np.sin(2 * np.pi * 300 * t) * (1 + 0.9 * np.sin(2 * np.pi * 4 * t))
    word[:FRAME] /= 10
    word = word / np.sqrt(np.mean(word[FRAME:] ** 2)) * 10 ** (decibels / 20)
    return np.concatenate([np.zeros(6 * FRAME), word]).astype(np.float32)


def heard_frames(stt, pieces, monkeypatch, after=lambda stream: None):
    """The sound that the model hears of a stream, and how many frames had been heard before
    `after` was called."""
    push, frames = Level.push, []

    def noted(self, pcm, ahead=()):
        frames.append(push(self, pcm, ahead))
        return frames[-1]

    with monkeypatch.context() as patched:
        patched.setattr(Level, "push", noted)
        with stt.stream(gain="auto") as stream:
            for piece in pieces:
                stream.feed(piece)
            count = len(frames)
            after(stream)
    return np.concatenate(frames), count


def test_a_soft_word_is_raised_from_its_first_frame_on(stt, monkeypatch):
    soft = begins(-55)
    found, _ = heard_frames(stt, [soft], monkeypatch)
    assert found.size == soft.size
    raised = found[7 * FRAME :] / np.where(soft[7 * FRAME :], soft[7 * FRAME :], np.nan)
    gains = 20 * np.log10(np.nanmedian(raised.reshape(-1, FRAME), 1))
    assert gains.min() > 30 and np.ptp(gains) < 8
    for size in (500, FRAME, 3 * FRAME + 1):
        pieces = [soft[start : start + size] for start in range(0, soft.size, size)]
        np.testing.assert_array_equal(heard_frames(stt, pieces, monkeypatch)[0], found)


def test_soft_frames_are_held_back_until_their_level_is_known(stt, monkeypatch):
    soft, right = begins(-55), begins(-20)
    until = 6 + 3  # frames of silence, and of a word
    held, count = heard_frames(stt, [soft[: until * FRAME]], monkeypatch)
    assert count == 6 and held.size == until * FRAME  # the flush brings them out
    assert heard_frames(stt, [soft], monkeypatch)[1] == soft.size // FRAME
    assert heard_frames(stt, [right[: until * FRAME]], monkeypatch)[1] == until
    noise_only = noise(1.6, 1e-4)
    assert heard_frames(stt, [noise_only], monkeypatch)[1] == noise_only.size // FRAME


def test_who_waits_for_held_frames_is_not_kept(stt, monkeypatch):
    """A mark, a reset and an end bring them out, in both ways of use."""
    part = begins(-55)[: 8 * FRAME]
    with stt.stream(gain="auto") as stream:
        stream.push(part)
        list(stream.known())
        assert stream.waiting == 2 * FRAME
        stream.mark(1)
        assert any(event == dsm_mlx.Mark(1) for event in stream.known())
        assert stream.waiting == 0
    for after in (lambda stream: stream.flush(), lambda stream: stream.reset()):
        assert heard_frames(stt, [part], monkeypatch, after)[0].size == part.size
    with stt.stream(gain="auto") as stream:
        stream.push(part)
        rest(stream)
        assert stream.time == pytest.approx(part.size / RATE)
    assert all_free(stt)


def test_held_frames_are_forked_and_saved(stt):
    pcm = begins(-55)
    with stt.stream(gain="auto") as stream:
        stream.push(pcm[: 8 * FRAME])
        list(stream.known())
        copies = [stream.fork(), stt.resume(stream.save())]
        for one in (stream, *copies):
            assert one.waiting == 2 * FRAME
            one.push(pcm[8 * FRAME :])
        expected = rest(stream)
        assert all(rest(one) == expected for one in copies)
    assert all_free(stt)


def test_silence_that_is_added_is_not_touched(delayed, monkeypatch):
    """Prefix, flush and reset: only the caller's samples are measured."""
    push, seen = Level.push, []

    def noted(self, pcm, ahead=()):
        seen.append(pcm.size)
        assert (pcm > 0.04).all() and all((frame > 0.04).all() for frame in ahead)
        return push(self, pcm, ahead)

    monkeypatch.setattr(Level, "push", noted)
    with delayed.stream(gain="auto") as stream:
        for part in (SOFT[:100], SOFT[100:5000], SOFT[5000:]):
            stream.feed(part)
            stream.flush()
            stream.reset()
    assert sum(seen) == SOFT.size


def test_a_fork_and_a_saved_stream_keep_the_level(stt):
    with stt.stream(gain="auto") as stream:
        stream.push(SOFT)
        list(stream.known())
        copies = [stream.fork(), stt.resume(stream.save())]
        stream.push(SOFT)
        expected = rest(stream)
    for copy in copies:
        copy.push(SOFT)
        assert rest(copy) == expected
    with stt.stream() as stream:
        stream.push(SOFT)
        assert without_partials(rest(stream))[-1] != expected[-1]
    assert all_free(stt)


def test_a_gain_that_cannot_be(stt):
    for gain in ("on", 2.0, True, ["auto"]):
        for call in (
            lambda gain=gain: stt.stream(gain=gain),
            lambda gain=gain: stt.transcribe(SOFT, sample_rate=RATE, gain=gain),
            lambda gain=gain: stt.listen([SOFT], gain=gain),
        ):
            with pytest.raises(ValueError, match=r'gain is .* \(expected None or "auto"\)'):
                call()
    assert stt.streams == 0


@pytest.mark.parametrize(
    "args, gain",
    [
        (["a.wav"], None),
        (["-"], None),
        (["a.wav", "--gain", "auto"], "auto"),
        (["--mic"], "auto"),
        (["--mic", "--gain", "off"], None),
        (["--mic", "--gain", "auto"], "auto"),
    ],
)
def test_the_command_takes_it_for_the_microphone(args, gain, monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    assert parse(args).gain == gain


def test_a_server_puts_no_level_right(capsys):
    with pytest.raises(SystemExit):
        parse(["--mic", "--gain", "auto", "--server", "http://localhost:1"])
    assert "--gain concerns a model on this machine" in capsys.readouterr().err
