"""Folders of any size: what is found in them, what is done, and going on after any stop."""

import os
import shutil
import signal
from itertools import islice

import archives
import pytest
from commands import STT, ended, run, start, wait_for

import dsm_mlx
from dsm_mlx import Transcript, Word
from dsm_mlx.archive import Job, transcribe_folder
from dsm_mlx.archive.listing import find
from dsm_mlx.archive.progress import Tally


@pytest.fixture(scope="module")
def model(small):
    return str(small("stt-tiny"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Eight recordings in three folders."""
    folder = tmp_path_factory.mktemp("archive")
    archives.make(folder)
    return folder


@pytest.fixture(scope="module")
def made(folder):
    return {f"{path.parent.name}/{path.stem}": path for path in sorted(folder.rglob("*.wav"))}


@pytest.fixture(scope="module")
def expected(model, made):
    return archives.heard(model, made)


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"sound")


def names(sources, recursive=True):
    return [found.name for found in find([str(source) for source in sources], recursive)]


# ---- what is found


def test_a_folder_is_listed_in_order_and_mirrored(tmp_path):
    touch(
        tmp_path, "b.wav", "a.MP3", "z/b.wav", "m/n/b.flac", "m/a.ogg", "notes.txt", "m/cover.jpg"
    )
    touch(tmp_path, ".hidden.wav", "._b.wav", ".trash/c.wav")
    assert names([tmp_path]) == ["a", "b", "m/a", "m/n/b", "z/b"]
    assert names([tmp_path], recursive=False) == ["a", "b"]


def test_names_that_differ_in_their_endings_keep_them(tmp_path):
    touch(tmp_path, "talk.wav", "Talk.mp3", "x.wav", "x.wav.flac", "alone.wav", "in/talk.wav")
    assert names([tmp_path]) == ["Talk.mp3", "alone", "talk.wav", "x", "x.wav.flac", "in/talk"]


def test_links_are_followed_but_not_for_ever(tmp_path):
    touch(tmp_path, "a/one.wav", "b/two.wav")
    (tmp_path / "a/up").symlink_to(tmp_path)
    (tmp_path / "b/again").symlink_to(tmp_path / "a")
    (tmp_path / "self").symlink_to(tmp_path / "self")
    assert names([tmp_path]) == ["a/one", "b/two"]


def test_several_sources_have_folders_of_their_own(tmp_path):
    touch(tmp_path, "a/one.wav", "b/one.wav", "one.wav", "notes.txt", "c/a/one.wav")
    sources = [tmp_path / name for name in ("a", "b", "one.wav", "notes.txt")]
    assert names(sources) == ["a/one", "b/one", "one", "notes"]
    with pytest.raises(ValueError, match="called a"):
        Job([tmp_path / "a", tmp_path / "c/a"], tmp_path / "out")


def test_a_folder_is_listed_as_it_is_needed(tmp_path):
    """The second folder is not looked at before the first one's recordings have been taken."""
    touch(tmp_path, "a/one.wav", "b/two.wav")
    found = find([str(tmp_path)], True)
    assert next(found).name == "a/one"
    touch(tmp_path, "b/three.wav")
    assert [each.name for each in found] == ["b/three", "b/two"]


@pytest.mark.parametrize("name", ["..", "/etc/x", "{name}/../../x", "x\0", "same"])
def test_a_name_is_no_path(tmp_path, name):
    with pytest.raises(ValueError, match="output_name"):
        Job([tmp_path], tmp_path / "out", output_name=name)


def test_odd_names_stay_within_the_output_folder(tmp_path):
    source, out = tmp_path / "in", tmp_path / "out"
    odd = ["..wav", "...wav", "a\\..\\b.wav", "-rf.wav", "new\nline.wav", os.fsdecode(b"\xff.wav")]
    touch(source, *[name for name in odd if not name.startswith(".")])
    with Job([source], out) as job:
        for recording in job.pending():
            job.finish(recording, Transcript("x", [Word("x", 0.0, 1.0)], duration=1.0))
        for name in odd[:2]:  # hidden, and so asked for by themselves
            touch(source, name)
    for name in odd[:2]:
        with Job([source / name], out) as job:
            for recording in job.pending():
                job.finish(recording, Transcript("x", [Word("x", 0.0, 1.0)], duration=1.0))
    assert len(list(out.iterdir())) == 6 and {p.name for p in tmp_path.iterdir()} == {"in", "out"}


# ---- what is done


def test_a_folder_is_transcribed(model, folder, expected, tmp_path):
    told = []
    with dsm_mlx.load_stt(model) as stt:
        end = transcribe_folder(
            folder, tmp_path, model=stt, formats=["json", "srt"], progress=told.append
        )
    assert archives.written(tmp_path) == expected
    assert (end.done, end.failed, end.skipped) == (8, 0, 0)
    assert end.heard == pytest.approx(24) and end.left == 0
    heard = [progress.heard for progress in told]
    assert heard == sorted(heard) and len(set(heard)) > 8
    assert len(list(tmp_path.rglob("*.srt"))) == 8 and not (tmp_path / "failures.jsonl").exists()


def test_what_has_not_all_its_formats_is_not_done(folder, tmp_path):
    """Nothing is loaded, as all is done; one format is missing then."""
    for path in folder.rglob("*.wav"):
        touch(tmp_path, *[path.relative_to(folder).with_suffix(f".{k}") for k in ("txt", "srt")])
    end = transcribe_folder(folder, tmp_path, model="no such model", formats=["txt", "srt"])
    assert (end.done, end.skipped) == (0, 8)
    (tmp_path / "b/1.srt").unlink()
    with Job([folder], tmp_path, formats=["txt", "srt"]) as job:
        assert [recording.name for recording in job.pending()] == ["b/1"]


def test_no_result_is_written_where_one_cannot_be_made(folder, tmp_path):
    nan = Transcript("x", [Word("x", float("nan"), 1.0)], duration=1.0)
    with Job([folder], tmp_path, formats=["txt", "srt"]) as job:
        job.finish(next(job.pending()), nan)
        assert job.progress.failed == 1
    assert not list(tmp_path.rglob("*.txt")) and len(archives.failures(tmp_path)) == 1


def test_a_full_disk_ends_the_job(folder, tmp_path, monkeypatch):
    def full(path, text):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("dsm_mlx.archive.job.save", full)
    with pytest.raises(OSError, match="No space left"), Job([folder], tmp_path) as job:
        job.finish(next(job.pending()), Transcript(""))


def test_failures_are_what_has_failed(model, folder, tmp_path):
    """Also after a later run has succeeded, and for what is done by then."""
    source, out = tmp_path / "in", tmp_path / "out"
    shutil.copytree(folder / "a", source)
    (source / "bad.wav").write_text("This is not sound.\n")
    (source / "empty.wav").write_bytes(b"")
    (source / "gone.wav").symlink_to(source / "nowhere")
    (source / "locked").mkdir()
    args = "--model", model, source, "--output-dir", out, "--recursive", "--skip-existing"
    status, stdout, err = run(STT, *args)
    assert (status, stdout) == (1, "") and "Traceback" not in err and "3 failed" in err
    found = archives.failures(out)
    assert {os.path.basename(path) for path in found} == {"bad.wav", "empty.wav", "gone.wav"}
    assert "plain text" in found[str(source / "bad.wav")]

    shutil.copy(folder / "b/1.wav", source / "bad.wav")
    shutil.copy(folder / "b/1.wav", source / "empty.wav")
    (out / "empty.txt").write_text("by somebody else")
    status, _, err = run(STT, *args)
    assert status == 1 and "1 failed" in err and "4 done before" in err
    # It still fails, but whoever has no file to be heard any more is forgotten.
    assert set(archives.failures(out)) == {str(source / "gone.wav")}
    (source / "gone.wav").unlink()
    assert run(STT, *args)[0] == 0 and not (out / "failures.jsonl").exists()


def test_what_is_no_sound_is_named_when_asked_for(model, folder, tmp_path):
    (tmp_path / "notes.txt").write_text("This is not sound.\n")
    args = "--model", model, "--recursive", "--output-dir", tmp_path / "out"
    status, _, err = run(STT, *args, folder / "a", tmp_path / "notes.txt", tmp_path / "none.wav")
    assert status == 1 and f"{tmp_path}/notes.txt: not a sound file" in err
    assert f"{tmp_path}/none.wav: no such file" in err
    assert len(list((tmp_path / "out").rglob("*.txt"))) == 3


def test_a_folder_without_sound(tmp_path):
    (tmp_path / "in").mkdir()
    args = "--recursive", tmp_path / "in", "--output-dir", tmp_path / "out"
    told = f"error: no sound files in {tmp_path}/in\n"
    assert run(STT, *args) == (1, "", told) and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--recursive", "a"], "--output-dir"),
        (["--recursive", "-", "--output-dir", "o"], "files and folders"),
        (["--recursive", "--mic", "--output-dir", "o"], "files and folders"),
        (["--workers", "2", "a"], "--output-dir"),
        (["--workers", "2", "--scheduler", "tcp://x:1", "a", "--output-dir", "o"], "not both"),
        (["--workers", "2", "a", "--output-dir", "o", "--server", "http://x"], "--server"),
        (["--send-files", "a", "--output-dir", "o"], "--scheduler"),
        (["--scheduler", "tcp://x:1", "--batch", "2", "a", "--output-dir", "o"], "nthreads"),
        (["--recursive", "a", "--output-dir", "o", "--output-name", "same"], "{name}"),
    ],
)
def test_usage(args, said):
    status, out, err = run(STT, *args)
    assert (status, out) == (2, "") and said in err and "Traceback" not in err


def test_what_begins_a_command_imports_no_dask():
    code = (
        "import dsm_mlx, dsm_mlx.archive, sys; from dsm_mlx.cli import transcribe_args, archiving"
    )
    code += "; print([m for m in ('distributed', 'dask', 'mlx', 'numpy') if m in sys.modules])"
    assert run([*STT[:1], "-c", code])[1].strip() == "[]"


# ---- stops


@pytest.mark.thorough
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_command_that_is_stopped_goes_on_where_it_was(model, folder, expected, tmp_path, number):
    args = "--model", model, folder, "--output-dir", tmp_path, "--recursive", "--skip-existing"
    args = *args, "--output-format", "json"
    process = start(STT, *args, "--batch", 1)
    wait_for(lambda: archives.marks(tmp_path))
    process.send_signal(number)
    status, _, err = ended(process)
    if number == signal.SIGINT:
        assert status == 130 and err.startswith("interrupted; ") and err.count("\n") == 1
    before = archives.marks(tmp_path)
    assert 1 <= len(before) < 8
    assert all(
        archives.written(tmp_path)[name] == expected[name] for name in archives.written(tmp_path)
    )
    assert run(STT, *args)[0] == 0
    assert archives.written(tmp_path) == expected
    after = archives.marks(tmp_path)
    assert all(after[path] == mark for path, mark in before.items())


# ---- what is left


def test_the_hours_left_are_told_from_sizes(folder, made):
    tally = Tally([str(folder)], True)
    tally._adding.join()
    assert tally.now.left is None  # nothing has been heard
    recordings = list(find([str(folder)], True))
    for recording in islice(recordings, 2):
        tally.hear(recording, 3.0)
        tally.end(recording, whole=True)
    assert tally.now.left == pytest.approx(18)
    tally.hear(recordings[2], 1.0)
    assert tally.now.left == pytest.approx(17)
    tally.forget(recordings[2])
    assert (tally.now.heard, tally.now.left) == (6.0, pytest.approx(18))
    for recording in recordings[2:]:
        tally.end(recording, whole=False)
    assert tally.now.left == 0


def test_recordings_may_come_from_an_iterator(model, made, expected):
    """It is asked for the next one when there is room, and no earlier."""
    asked = []

    def paths():
        for name, path in made.items():
            asked.append(name)
            yield path

    with dsm_mlx.load_stt(model) as stt:
        ended_ones, words = 0, {}
        for part in stt.transcribe_events(paths(), batch=2):
            words.setdefault(part.index, []).extend(part.events)
            ended_ones += part.last
            assert len(asked) <= ended_ones + 2
        with pytest.raises(TypeError, match="audio is set"):
            stt.transcribe_events({1})
        with pytest.raises(ValueError, match="seed"):
            stt.transcribe_events(iter([]), seed=-1)
    assert asked == list(made)
    for index, name in enumerate(made):
        found = [e.text for e in words[index] if isinstance(e, Word)]
        assert found == [word["text"] for word in expected[name]["words"]]
