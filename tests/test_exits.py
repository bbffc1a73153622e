"""A program ends as it wants to, whatever is open; a forked process never waits.

Ends come at random moments: DSM_MLX_EXITS=30 makes more of them than the suite does.
"""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

EXITS = int(os.environ.get("DSM_MLX_EXITS", "8"))

BEGIN = """
import asyncio, gc, itertools, logging, os, signal, sys, threading, time

import dsm_mlx  # before MLX, whose BLAS it chooses
import mlx.core as mx
import numpy as np

mx.set_default_device(mx.cpu)

logging.getLogger("dsm_mlx").setLevel(logging.ERROR)  # this machine may be too busy to keep up
STT, TTS = sys.argv[1:3]
RATE = 24000
pcm = np.random.default_rng(0).normal(0, 0.2, 2 * RATE).astype(np.float32)
"""

ENDING = (
    BEGIN
    + """
seed, status = map(int, sys.argv[3:5])
rng = np.random.default_rng(seed)
doing = threading.Semaphore(0)


def feed(stt, tts):
    stream = stt.stream()
    for start in itertools.cycle(range(0, 9600, 1920)):
        stream.feed(pcm[start : start + 4800])
        yield


def push(stt, tts):
    with stt.stream() as stream:
        for i in itertools.count():
            stream.push(pcm[:4800])
            if i % 5 == 4:
                stream.mark(i)
                while next(stream) != dsm_mlx.Mark(i):
                    yield


def push_async(stt, tts):
    async def events():
        async with stt.stream() as stream:
            while True:
                await stream.ready()
                stream.push(pcm[:9600])
                await stream.__anext__()
                doing.release()

    asyncio.run(events())
    yield


def transcribe(stt, tts):
    while True:
        stt.transcribe([pcm] * 3, sample_rate=RATE, progress=lambda _: doing.release())
        yield


def transcribe_async(stt, tts):
    async def events():
        async for _ in stt.transcribe_events([pcm] * 50, sample_rate=RATE):
            doing.release()

    asyncio.run(events())
    yield


def synthesize(stt, tts):
    while True:
        tts.synthesize(["one two three", "four"], progress=lambda _: doing.release())
        yield


def speak(stt, tts):
    while True:
        with tts.stream() as stream:
            stream.feed("one two three four five")
            stream.end()
            for _ in stream:
                yield


def load(stt, tts):
    while True:
        for dtype in ("float32", "bfloat16", "float16"):
            dsm_mlx.load_stt(STT, dtype=dtype)
            yield
            dsm_mlx.load_tts(TTS, dtype=dtype)
            gc.collect()


def encode(stt, tts):
    codec = dsm_mlx.load_codec(TTS)
    while True:
        codec.decode(codec.encode(pcm[None, None]))
        yield


def run(work):
    try:
        for _ in work(dsm_mlx.load_stt(STT), dsm_mlx.load_tts(TTS)):
            doing.release()
    except RuntimeError as error:
        if "exiting" not in str(error) and "shutdown" not in str(error):  # the latter is asyncio's
            raise


works = [feed, push, push_async, transcribe, transcribe_async, synthesize, speak, load, encode]
for i in rng.permutation(len(works))[: 1 + seed % 5]:
    threading.Thread(target=run, args=(works[i],), daemon=True).start()
if seed % 4:
    doing.acquire()  # else it ends while loading
if seed % 4 == 1:  # with streams that only the interpreter's end finalises
    held = dsm_mlx.load_stt(STT).stream(), dsm_mlx.load_tts(TTS).stream()
    asyncio.held = np.held = held
seconds = rng.uniform(0.001, 0.4)
if seed % 3 == 0:  # in the middle of a call that waits
    signal.signal(signal.SIGALRM, lambda *_: sys.exit(status))
    signal.setitimer(signal.ITIMER_REAL, seconds)
    for _ in feed(dsm_mlx.load_stt(STT), None):
        pass
time.sleep(seconds)
if status:
    sys.exit(status)
"""
)


def ran(program, *args, timeout=60):
    """A program's exit status and what it wrote to both streams."""
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
    )
    return done.returncode, done.stdout


WAITING = (
    BEGIN
    + """
stt, tts = dsm_mlx.load_stt(STT, max_streams=1), dsm_mlx.load_tts(TTS, max_streams=1)
held = stt.stream(), tts.stream()


async def main():
    for awaited in (
        stt.atranscribe(pcm, sample_rate=RATE),
        tts.asynthesize("one"),
        stt.transcribe_events([pcm], sample_rate=RATE).__anext__(),
        held[1].__anext__(),
        held[0].__anext__(),
    ):
        tasks.append(asyncio.ensure_future(awaited))
    await asyncio.sleep(0.2)
    assert not any(task.done() for task in tasks)


tasks = []
asyncio.run(main())
sys.exit(9)
"""
)


def test_calls_that_wait_for_ever_in_an_event_loop_do_not_keep_a_program(small):
    """Recordings for which there is no row, speech without text, a stream without sound."""
    found = ran(WAITING, small("stt-tiny"), small("tts-tiny"), timeout=20)
    assert found == (9, "")


FORKED = (
    BEGIN
    + """
from dsm_mlx.runtime import worker

stt, tts, codec = dsm_mlx.load_stt(STT), dsm_mlx.load_tts(TTS), dsm_mlx.load_codec(STT)
fed, pushed, said, unused = stt.stream(), stt.stream(), tts.stream(), stt.stream()
fed.feed(pcm)
pushed.push(pcm)
said.feed("one two three four five")
events, speech = iter(pushed), iter(said)
parts, more = (stt.transcribe_events([pcm, pcm], sample_rate=RATE) for _ in range(2))
next(events), next(speech), next(parts), next(more)
listened = iter(stt.listen([pcm, pcm]))
next(listened)
dropped = stt.stream()
busy = threading.Thread(target=lambda: [fed.feed(pcm) for _ in range(10)], daemon=True)
busy.start()


def hold():
    '''As bad as it can be: another thread holds all locks at the moment of the fork.'''
    sessions = [session for batch in worker.shared.batches() for session in batch.open]
    locks = [session.changed for session in sessions]
    script = said._session.script
    locks += [stt._opening, tts._opening, worker.shared._start, script._lock, script._reading]
    hold_all(locks)


def hold_all(locks):
    if locks:
        with locks[0]:
            hold_all(locks[1:])
    else:
        held.set()
        free.wait()


def awaited(make):
    async def waiting():
        await make()

    return lambda: asyncio.run(waiting())


held, free = threading.Event(), threading.Event()
holding = threading.Thread(target=hold)
holding.start()
held.wait()
child = os.fork()
if not child:
    signal.alarm(10)  # which ends it with another status
    refused = {
        "load_stt": lambda: dsm_mlx.load_stt(STT),
        "load_tts": lambda: dsm_mlx.load_tts(TTS, bits=8),
        "load_codec": lambda: dsm_mlx.load_codec(STT),
        "stt.stream": stt.stream,
        "stt.transcribe": lambda: stt.transcribe(pcm, sample_rate=RATE),
        "stt.transcribe_events": lambda: next(stt.transcribe_events([pcm], sample_rate=RATE)),
        "stt.atranscribe": awaited(lambda: stt.atranscribe(pcm, sample_rate=RATE)),
        "stt.listen": lambda: next(iter(stt.listen([pcm]))),
        "next of parts": lambda: next(parts),
        "next of listened": lambda: next(listened),
        "anext of more": awaited(more.__anext__),
        "feed": lambda: fed.feed(pcm),
        "flush": fed.flush,
        "reset": fed.reset,
        "first feed": lambda: unused.feed(pcm),
        "fork": fed.fork,
        "save": fed.save,
        "push": lambda: pushed.push(pcm),
        "mark": lambda: pushed.mark(1),
        "end": pushed.end,
        "ready": awaited(pushed.ready),
        "iter": lambda: iter(pushed),
        "next": lambda: next(events),
        "anext": awaited(pushed.__anext__),
        "tts.stream": tts.stream,
        "tts.synthesize": lambda: tts.synthesize("one"),
        "tts.feed": lambda: said.feed("six"),
        "tts.end": said.end,
        "tts.fork": said.fork,
        "tts next": lambda: next(speech),
        "tts anext": awaited(said.__anext__),
        "stt.stats": stt.stats,
        "tts.stats": tts.stats,
        "encode": lambda: codec.encode(pcm[None, None]),
        "decode": lambda: codec.decode(np.zeros((1, 1, 1), np.int32)),
        "encoder": lambda: codec.encoder()(pcm[None, None, :1920]),
        "decoder": lambda: codec.decoder()(np.zeros((1, 1, 1), np.int32)),
    }
    nothing = {
        "close of parts": parts.close,
        "aclose of more": awaited(more.aclose),
        "close of listened": listened.close,
        "close of fed": fed.close,
        "close of pushed": pushed.close,
        "aclose": awaited(unused.aclose),
        "cancel": said.cancel,
        "time": lambda: (fed.time, fed.waiting, fed.partial_word),
        "streams": lambda: (stt.streams, stt.delays, tts.cfg_values, tts.voices()),
        "drop": lambda: globals().pop("dropped") and gc.collect(),
        "stt.close": stt.close,
        "tts.close": lambda: tts.close(drain=3.0),
    }
    for name, call in refused.items():
        print(name, end=" ", flush=True)
        began = time.monotonic()
        try:
            call()
            print("was not refused")
        except RuntimeError as error:
            if "forked" not in str(error):
                raise
        print(end="" if time.monotonic() - began < 2 else "took long")
    for name, call in nothing.items():
        print(name, end=" ", flush=True)
        call()
    print("end", flush=True)
    sys.exit(5)
status = os.waitpid(child, 0)[1]
free.set()
holding.join()
assert status == 5 << 8, status
busy.join(20)
pushed.push(pcm)
pushed.end()
said.end()
assert [e for e in events if isinstance(e, dsm_mlx.Pause)][-1].time == 4 and len(list(speech)) > 5
print("and on")
"""
)


@pytest.mark.thorough
def test_a_forked_process_is_told_to_load_anew_and_never_waits(small):
    """All that would wait is refused, all that ends something does nothing; the parent goes on."""
    status, said = ran(FORKED, small("stt-tiny"), small("tts-tiny"))
    assert status == 0 and said.endswith("end\nand on\n") and "refused" not in said, said


FORKED_BEFORE = (
    BEGIN
    + """
for status in (3, 4):
    if not os.fork():
        speech = dsm_mlx.load_tts(TTS).synthesize("one", seed=1)
        words = dsm_mlx.load_stt(STT).transcribe(pcm, sample_rate=RATE).text
        print(speech.duration, words, flush=True)
        sys.exit(status)
found = sorted(os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(2))
sys.exit(found != [3, 4])
"""
)


def test_processes_forked_before_use_work_each_by_itself(small):
    status, said = ran(FORKED_BEFORE, small("stt-tiny"), small("tts-tiny"))
    assert status == 0, said
    one, other = said.splitlines()
    assert one == other


@pytest.mark.thorough
@pytest.mark.parametrize("part", range(2))
def test_a_program_ends_with_its_own_status(small, part):
    """And without a word of ours, whatever its threads are doing."""
    seeds = range(part, EXITS, 2)

    def ended(seed):
        return ran(ENDING, small("stt-tiny"), small("tts-tiny"), seed, seed % 3 and seed + 1)

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(ended, seeds))
    assert found == [(seed % 3 and seed + 1, "") for seed in seeds]
