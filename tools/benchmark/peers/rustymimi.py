"""rustymimi: the codec."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import rustymimi

from benchmark.jobs import CODEBOOKS, CODEC, Job, work


def main() -> None:
    job = Job.of_command()
    mimi = rustymimi.Tokenizer(job.file(CODEC), num_codebooks=CODEBOOKS, dtype="f32")

    def steps(_checked: bool) -> Iterator[np.ndarray]:
        mimi.reset()
        for frame in job.given():
            if job.part == "encode":
                yield mimi.encode_step(frame[None])
            else:
                yield mimi.decode_step(frame.astype(np.uint32))

    work(job, steps, ("rustymimi",))


if __name__ == "__main__":
    main()
