"""The same job on a cluster: what its workers hear is what one process hears, whoever dies."""

import json
import os
import pickle
import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL

import archives
import pytest
import soundfile
from commands import STT, ended, run, start, wait_for

import dsm_mlx
from dsm_mlx.archive import ClusterError, Job, transcribe_folder
from dsm_mlx.audio import Sound, read

pytest.importorskip("distributed", reason="Dask is not installed: pip install '.[cluster]'")

import psutil
from distributed import WorkerPlugin

from dsm_mlx.archive import hearing as worker_side
from dsm_mlx.archive.cluster import connected, hear_there, hearing_of
from dsm_mlx.archive.hearing import Begun, Heard, Refused, hear

BUS = Path(__file__).parents[1] / "demos/audio/bus.wav"


@pytest.fixture(scope="module")
def model(small):
    return str(small("stt-tiny"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("archive")


@pytest.fixture(scope="module")
def made(folder):
    """Eight recordings in three folders."""
    return archives.make(folder)


@pytest.fixture(scope="module")
def expected(model, made):
    return archives.heard(model, made)


@pytest.fixture(scope="module")
def client():
    """Of two workers, each of which hears two recordings at a time."""
    with connected(workers=2, batch=2) as client:
        yield client


def processes(client):
    """The ids of its workers."""
    return list(client.run(os.getpid).values())


# ---- a recording in pieces


def in_pieces(hearing, path, data=None):
    """Each piece by itself, with nothing left from the one before but what travels."""
    before, count = None, 0
    while True:
        count += 1
        got = pickle.loads(pickle.dumps(hear(hearing, str(path), data, before)))
        worker_side._readers.close()
        if not isinstance(got, Begun):
            return got, count
        before = got


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("rate", "options"), [(24_000, {}), (44_100, {"start": 0.5, "end": 3.05, "gain": "auto"})]
)
def test_pieces_are_one_recording(tmp_path, rate, options):
    """Words, times, confidence and pauses of `tiny`, cut every 0.77 s, in the middle of words."""
    path = tmp_path / "bus.wav"
    soundfile.write(path, read(BUS, target=rate), rate)
    hearing = hearing_of("tiny", {}, options, pauses=True, piece=0.77)
    got, count = in_pieces(hearing, path)
    with dsm_mlx.load_stt("tiny") as stt:
        whole = stt.transcribe(path, **options)
    assert len(whole.words) > 4 and count >= 4
    assert got.transcript.to_dict() == whole.to_dict()
    assert got.seconds == pytest.approx(whole.duration - options.get("start", 0))


def test_a_file_stays_open_between_its_pieces(model, made):
    """And is closed when nobody comes for the next one."""
    hearing, path = hearing_of(model, {}, {}, piece=1.0), str(made["a/0"])
    kept = worker_side._readers._kept
    begun = hear(hearing, path, None, None)
    ((reader, timer),) = kept.values()
    assert isinstance(hear(hearing, path, None, begun), Begun)
    assert reader.at == 48_000 and timer.finished.is_set()
    ((same, timer),) = kept.values()
    assert same is reader
    timer.function(*timer.args)  # as when its time is up
    timer.cancel()
    assert not kept


def test_what_a_worker_may_say(model, made, tmp_path):
    """Sent bytes need no file; what is wrong with all is told apart from what is with one."""
    path = made["a/0"]
    hearing = hearing_of(model, {}, {})
    sent = hear(hearing, "/nowhere/0.wav", path.read_bytes(), None)
    assert sent == hear(hearing, str(path), None, None) and isinstance(sent, Heard)
    assert hear(hearing, "/nowhere/0.wav", None, None).unseen
    bad = hear(hearing, "/nowhere/0.wav", b"This is not sound.\n", None)
    assert bad == Refused("/nowhere/0.wav: not a sound file that can be read: it is plain text")
    for other in (
        hearing_of(str(tmp_path), {}, {}),
        hearing_of(model, {}, {"delay": 2.0}),
        worker_side.replace(hearing, version="0.0"),
    ):
        refused = hear(other, str(path), None, None)
        assert refused.hopeless and worker_side._host() in refused.why


def test_channels_are_heard_apart(model, made, tmp_path):
    left, right = (read(made[name]) for name in ("a/0", "b/1"))
    soundfile.write(tmp_path / "two.wav", list(zip(left, right, strict=True)), archives.RATE)
    options = {"channels": "split", "speakers": ["Ann"]}
    got = hear(hearing_of(model, {}, options, piece=1.0), str(tmp_path / "two.wav"), None, None)
    with dsm_mlx.load_stt(model) as stt:
        whole = stt.transcribe(tmp_path / "two.wav", **options)
    assert got.transcript.words == whole.words and got.transcript.text == whole.text


# ---- a cluster


@pytest.mark.thorough
@pytest.mark.parametrize("send_files", [False, True])
def test_a_cluster_hears_what_a_process_hears(
    client, model, folder, expected, tmp_path, send_files
):
    """In pieces of a second; and no more is begun than there is room for, twice."""
    hearing = hearing_of(model, {}, {}, piece=1.0)
    begun, most = set(), 0
    with Job([folder], tmp_path, formats=["json"]) as job:
        find, finish = job.pending, job.finish

        def pending():
            nonlocal most
            for recording in find():
                begun.add(recording.name)
                most = max(most, len(begun))
                yield recording

        def finished(recording, transcript):
            begun.remove(recording.name)
            finish(recording, transcript)

        job.pending, job.finish = pending, finished
        hear_there(job, client, hearing, send_files=send_files)
        assert job.progress.heard == pytest.approx(24) and job.progress.done == 8
    assert archives.written(tmp_path) == expected
    assert not begun and 4 <= most <= 8


def test_a_bad_file_fails_alone(client, model, made, tmp_path):
    (tmp_path / "bad.wav").write_text("This is not sound.\n")
    with Job([made["a/0"], tmp_path / "bad.wav"], tmp_path / "out") as job:
        hear_there(job, client, hearing_of(model, {}, {}))
        assert (job.progress.done, job.progress.failed) == (1, 1)
    (why,) = archives.failures(tmp_path / "out").values()
    assert "bad.wav: not a sound file" in why


def test_what_no_worker_can_do_ends_the_job(client, folder, made, tmp_path):
    with Job([folder], tmp_path) as job:
        with pytest.raises(ClusterError, match=r"has no file 'config\.json'"):
            hear_there(job, client, hearing_of(str(tmp_path), {}, {}))
        assert job.progress.failed == 0


def test_a_model_that_is_loaded_cannot_be_given_away(model, folder, made, tmp_path):
    with dsm_mlx.load_stt(model) as stt, pytest.raises(TypeError, match="model is"):
        transcribe_folder(folder, tmp_path, model=stt, workers=1)


# ---- deaths


@pytest.mark.thorough
@pytest.mark.parametrize(("failures", "send_files"), [(3, False), (0, False), (3, True)])
def test_a_worker_that_is_killed_costs_nothing(
    client, model, folder, expected, tmp_path, failures, send_files
):
    """Nor where a file is blamed for its first death, as all beside it are; nor what was sent."""
    hearing = hearing_of(model, {}, {}, piece=1.0)
    written = []
    client.run_on_scheduler(_allow, failures)
    with Job([folder], tmp_path, formats=["json"]) as job:
        finish = job.finish

        def finished(recording, transcript):
            if not written:
                os.kill(processes(client)[0], signal.SIGKILL)
            written.append(recording.name)
            finish(recording, transcript)

        job.finish = finished
        hear_there(job, client, hearing, send_files=send_files)
        assert job.progress.failed == 0 and job.progress.heard == pytest.approx(24)
    assert sorted(written) == sorted(expected) and archives.written(tmp_path) == expected
    client.wait_for_workers(2, timeout=30)


def _allow(failures, dask_scheduler):
    dask_scheduler.allowed_failures = failures


class Deadly(WorkerPlugin):
    """Has a worker die when it opens a file of that name, also after it has been started again."""

    name = "deadly"

    def setup(self, worker):
        def sound(source, *, name, **options):
            if name.endswith("deadly.wav"):
                os.kill(os.getpid(), signal.SIGKILL)
            return Sound(source, name=name, **options)

        worker_side.Sound = sound

    def teardown(self, worker):
        worker_side.Sound = Sound


@pytest.mark.thorough
def test_a_file_that_kills_its_workers_fails_alone(client, model, folder, made, tmp_path):
    """It is blamed when it is heard alone; those beside it are not."""
    client.run_on_scheduler(_allow, 0)
    deadly = tmp_path / "in/deadly.wav"
    deadly.parent.mkdir()
    deadly.write_bytes(made["a/0"].read_bytes())
    client.register_plugin(Deadly())
    try:
        with Job([deadly.parent, folder / "a"], tmp_path / "out") as job:
            hear_there(job, client, hearing_of(model, {}, {}, piece=1.0))
            assert (job.progress.done, job.progress.failed) == (3, 1)
    finally:
        client.unregister_worker_plugin("deadly")
    (why,) = archives.failures(tmp_path / "out").values()
    assert why == f"{deadly}: every worker that heard it died"


# ---- the command

STARTED = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "2s"}


def command(model, folder, out, *more):
    args = "--model", model, folder, "--output-dir", out, "--output-format", "json"
    return *args, "--recursive", "--skip-existing", *more


def goes_on(model, folder, out, expected):
    """What is not there is heard here then, and what was there has not been heard again."""
    before = archives.marks(out)
    assert 1 <= len(before) < 8 and archives.written(out).items() <= expected.items()
    assert run(STT, *command(model, folder, out))[0] == 0
    after = archives.marks(out)
    assert archives.written(out) == expected
    assert all(after[path] == mark for path, mark in before.items())


@contextmanager
def cluster(file, port=0):
    """A scheduler and a worker in processes of their own: its address, and its process."""
    of = "--scheduler-file", file, "--no-dashboard"
    dask_ = [sys.executable, "-m"]
    quiet = {"stdout": DEVNULL, "stderr": DEVNULL}
    scheduler = start([*dask_, "distributed.cli.dask_scheduler"], *of, "--port", port, **quiet)
    wait_for(lambda: file.exists() and file.read_text().endswith("}"))
    args = *of, "--nthreads", 2, "--no-nanny", "--death-timeout", 5
    worker = start([*dask_, "distributed.cli.dask_worker"], *args, **quiet)
    try:
        yield json.loads(file.read_text())["address"], scheduler
    finally:
        for process in (worker, scheduler):
            process.kill()
            process.wait()


@pytest.mark.thorough
def test_the_scheduler_is_killed(model, folder, expected, tmp_path):
    out = tmp_path / "out"
    with cluster(tmp_path / "scheduler.json") as (address, scheduler):
        environment = os.environ | STARTED
        args = command(model, folder, out, "--scheduler", address)
        process = start(STT, *args, env=environment)
        wait_for(lambda: archives.marks(out))
        scheduler.kill()
        status, stdout, err = ended(process)
    assert (status, stdout) == (1, "") and "Traceback" not in err
    told = [line for line in err.splitlines() if not line.startswith("no workers; waiting")]
    assert len(told) == 2 and told[1].startswith("error: the scheduler is gone")
    goes_on(model, folder, out, expected)


@pytest.mark.thorough
def test_the_scheduler_comes_back(model, folder, expected, tmp_path):
    """With no memory of what it was asked, within the time that the client waits for it."""
    out = tmp_path / "out"
    with cluster(tmp_path / "first.json") as (address, scheduler):
        process = start(STT, *command(model, folder, out, "--scheduler", address))
        wait_for(lambda: archives.marks(out))
        scheduler.kill()
        before = archives.marks(out)
        with cluster(tmp_path / "second.json", int(address.rpartition(":")[2])):
            status, stdout, err = ended(process)
    assert (status, stdout) == (0, "") and "Traceback" not in err
    assert archives.written(out) == expected
    assert before.items() <= archives.marks(out).items()


@pytest.mark.thorough
def test_nobody_answers(model, folder, tmp_path):
    args = command(model, folder, tmp_path / "out", "--scheduler", "tcp://127.0.0.1:9")
    status, out, err = run(STT, *args, env=os.environ | STARTED)
    assert (status, out, err.count("\n")) == (1, "", 1) and "tcp://127.0.0.1:9" in err


@pytest.mark.parametrize("wrong", ["nonsense://", "tcp://", "tcp://nobody.invalid:1"])
def test_what_is_no_address(wrong):
    with pytest.raises((OSError, ValueError), match=f"scheduler is '{wrong}'"), connected(wrong):
        pass


@pytest.mark.thorough
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_the_client_is_stopped(model, folder, expected, tmp_path, number):
    """Its workers go with it. A terminal sends Ctrl-C to all of them."""
    args = command(model, folder, tmp_path, "--workers", 2, "--batch", 1)
    process = start(STT, *args, start_new_session=True)
    wait_for(lambda: archives.marks(tmp_path))
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 2
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    status, out, err = ended(process)
    _, left = psutil.wait_procs(children, timeout=20)
    assert not left and out == "" and "Traceback" not in err
    if number == signal.SIGINT:
        assert status == 130 and "interrupted; " in err.splitlines()[-1]
    goes_on(model, folder, tmp_path, expected)
