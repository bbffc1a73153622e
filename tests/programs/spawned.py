"""Several processes, each with a model of its own: by 'spawn', for a forked one cannot compute."""

import multiprocessing
import os
import sys

from dsm_mlx import load_stt

stt = None


def load() -> None:
    global stt
    stt = load_stt()


def transcribe(path: str) -> tuple[str, int]:
    return stt.transcribe(path).text, os.getpid()


if __name__ == "__main__":
    load()  # here too, before the others begin
    with multiprocessing.get_context("spawn").Pool(2, load) as pool:
        results = pool.map(transcribe, sys.argv[1:], chunksize=1)
    for path, (text, process) in zip(sys.argv[1:], results, strict=True):
        assert process != os.getpid()
        print(f"{os.path.basename(path)}: {text}")
