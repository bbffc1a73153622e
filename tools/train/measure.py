"""What the small models reach: the figures of the model card.

    python tools/train/measure.py MODEL --folder DIR            words wrong in NN.wav with NN.txt;
                                                               --decoded: after the codec
    python tools/train/measure.py MODEL --shard FILE.pcm.npz …  and times, pauses: run.py's speech
    python tools/train/measure.py MODEL --nothing               words heard where none are spoken
    python tools/train/measure.py MODEL --tts VOICE_MODEL       words lost by speaking and hearing,
                                                               voices, turns of dialogues; a long
                                                               text with --minutes

MODEL is what dsm_mlx.load_stt takes. Needs no PyTorch.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # tools/, for what evaluate.py is made of

from measured.hearing import RATE, of_folder, of_nothing, of_shard
from measured.speaking import of_voices
from measured.words import Wrong
from outputs import check_plot

import dsm_mlx


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("model")
    p.add_argument("--folder", type=Path)
    p.add_argument("--decoded", action="store_true", help="first through the codec, with --folder")
    p.add_argument("--shard", type=Path, nargs="+")
    p.add_argument("--nothing", action="store_true")
    p.add_argument("--tts", metavar="VOICE_MODEL")
    p.add_argument("--minutes", type=float, default=0.0, help="of a long text, with --tts")
    p.add_argument("--count", type=int, default=200, help="at most so many recordings or sentences")
    p.add_argument("--delay", type=float, nargs="+", default=[None])
    p.add_argument("--plot", type=Path, metavar="PNG", help="draw words wrong against the delay")
    p.add_argument("--batch", type=int, default=8)
    return p


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    if args.plot:
        args.plot = check_plot(args.plot, "--plot")
    stt = dsm_mlx.load_stt(args.model)
    hear = partial(stt.transcribe, sample_rate=RATE, batch=args.batch)
    curve = []
    jobs = {"folder": of_folder, "shard": of_shard, "nothing": of_nothing, "tts": of_voices}
    for name, job in jobs.items():
        if not getattr(args, name):
            continue
        figures = job(hear, args)
        for delay in args.delay:
            for line in figures(delay):
                print(f"{name}, delay {delay or stt.delay} s, {line}", flush=True)
                if isinstance(line, Wrong):
                    curve.append((delay or stt.delay, line.wrong / line.spoken))
    if args.plot:
        plot(curve, args.plot)
    return 0


def plot(curve: list[tuple[float, float]], path: Path) -> None:
    from matplotlib.figure import Figure

    axes = (figure := Figure(figsize=(6, 4))).add_subplot()
    axes.plot([delay for delay, _ in curve], [100 * rate for _, rate in curve], "o-")
    axes.set(xlabel="delay, s", ylabel="words wrong, %", ylim=0)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    sys.exit(main())
