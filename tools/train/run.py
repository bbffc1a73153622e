"""Train the small models of dsm_mlx, a stage and some minutes at a time.

    python tools/train/run.py --stage STAGE --minutes 9 --resume DIR

goes on with a stage where DIR says it was left, and stops when the minutes are over or the stage
is done (exit status 0 if it is done, 3 if it needs more time). The order of the stages, and how
to run them on a machine with nothing but PyTorch, is in README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

SETTINGS = Path(__file__).with_name("tiny.json")
UNFINISHED = 3
LEARNT_FROM = ("train", "flite", "plain", "tts", "turns")  # splits; the others are measured on


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--stage", required=True, choices=tuple(STAGES))
    p.add_argument("--resume", type=Path, required=True, metavar="DIR", help="where all is kept")
    p.add_argument("--minutes", type=float, default=9.0, help="stop after about this time")
    p.add_argument("--settings", type=Path, default=SETTINGS, help="sizes, steps and rates")
    p.add_argument("--shards", type=int, default=36, help="of 1000 s each, for --stage speech")
    p.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 1) - 1))
    p.add_argument("--threads", type=int, help="of PyTorch; default: its own choice")
    p.add_argument("--device", help="cpu or cuda; default: cuda where there is one")
    p.add_argument("--steps", type=int, help="in all, instead of the settings' number")
    p.add_argument("--batch", type=int, help="instead of the settings' number")
    p.add_argument("--rate", type=float, help="peak learning rate, instead of the settings'")
    p.add_argument("--start", type=Path, help="checkpoint folder to start from: decoder, stt, tts")
    p.add_argument("--codec", type=Path, help="folder of the codec; default: DIR/codec")
    p.add_argument("--keep-sound", action="store_true", help="keep what --stage encode has read")
    return p


def main(argv: list[str] | None = None) -> int:
    """Run a stage for a while; 0: it is done, 3: it needs more time."""
    args = parser().parse_args(argv)
    args.codec = args.codec or args.resume / "codec"
    args.data = args.resume / "data"
    done = STAGES[args.stage](args)
    return 0 if done else UNFINISHED


def _log(args: argparse.Namespace):
    from learn.loop import Log

    return Log(args.resume / "log.txt")


def speech(args: argparse.Namespace) -> bool:
    """Sound with its labels: the splits to measure on first, then those to train on."""
    from speech import shards

    end = time.monotonic() + 60 * args.minutes
    wanted = {split: 1 for split in shards.SPLITS}
    wanted |= dict.fromkeys(LEARNT_FROM, args.shards // 2) | {"train": args.shards}
    for split, count in sorted(wanted.items(), key=lambda item: item[1]):
        left = (end - time.monotonic()) / 60
        shards.make_many(args.data, split, count, left, args.workers, _log(args))
    return all(len(shards.found(args.data, s)) >= count for s, count in wanted.items())


def tokenizer(args: argparse.Namespace) -> bool:
    """A SentencePiece model of the training sentences."""
    from speech.pieces import train

    train(args.resume / "tokenizer.model", **_settings(args)["tokenizer"])
    return True


def encoder(args: argparse.Namespace) -> bool:
    """The codec's first half and its quantiser."""
    from learn.codec_encoder import Encoder

    return _train(args, "encoder", lambda plan: Encoder(_settings(args)["codec"], plan, args))


def decoder(args: argparse.Namespace) -> bool:
    """The codec's second half, on the frozen codes of the first."""
    from learn.codec_decoder import Decoder

    return _train(args, "decoder", lambda plan: Decoder(_settings(args)["codec"], plan, args))


def encode(args: argparse.Namespace) -> bool:
    """Sound -> codes, for the language models."""
    from learn import official
    from learn.encode import decode_again, encode_all
    from speech import shards

    codec = official.load_codec(args.codec, _device(args))
    end, log = time.monotonic() + 60 * args.minutes, _log(args)
    for split in shards.SPLITS:
        # What is measured on is measured as sound.
        keep = args.keep_sound or split not in LEARNT_FROM
        left = (end - time.monotonic()) / 60
        if not encode_all(args.data, split, codec, left, log, keep):
            return False
    return decode_again(args.data, codec, (end - time.monotonic()) / 60, log)


def stt(args: argparse.Namespace) -> bool:
    """Speech to text."""
    from learn.encode import DECODED
    from learn.stt import SpeechToText

    splits = (*LEARNT_FROM, DECODED)
    return _train(args, "stt", lambda plan: SpeechToText(plan, _given(args, "stt", *splits)))


def tts(args: argparse.Namespace) -> bool:
    """Text to speech, and its voices."""
    from learn.tts import TextToSpeech

    return _train(args, "tts", lambda plan: TextToSpeech(plan, _given(args, "tts", "tts", "turns")))


STAGES = {
    stage.__name__: stage for stage in (speech, tokenizer, encoder, decoder, encode, stt, tts)
}


def _settings(args: argparse.Namespace) -> dict:
    return json.loads(args.settings.read_text())


def _given(args: argparse.Namespace, kind: str, *splits: str):
    """What the language model of a kind, "stt" or "tts", learns from on these splits."""
    from learn import official
    from learn.corpus import Corpus
    from learn.language import Given

    config, words = _settings(args)[kind], args.resume / official.TOKENIZER
    if args.start:
        config = official.read_config(args.start / official.LM_CONFIG)
        words = args.start / official.TOKENIZER
    corpus = Corpus(args.data, *splits)
    return Given(config, corpus, args.codec, words, _device(args), args.start)


def _device(args: argparse.Namespace) -> str:
    import torch
    from learn.device import best, keep_freed_memory

    if args.threads:
        torch.set_num_threads(args.threads)
    device = args.device or best()
    if device == "cpu":
        keep_freed_memory()
    return device


def _train(args: argparse.Namespace, name: str, make) -> bool:
    from learn.loop import seed, train
    from learn.plan import Plan

    device = _device(args)
    chosen = {"steps": args.steps, "batch": args.batch, "learning_rate": args.rate}
    settings = _settings(args)["stages"][name] | {k: v for k, v in chosen.items() if v}
    seed(0)  # for the weights to start from
    stage = make(Plan(**settings))
    # On a CPU the batches are made in between: processes of their own would only compete.
    workers = min(8, args.workers) if device == "cuda" else 0
    return train(stage, args.resume / name, args.minutes, workers, _log(args))


if __name__ == "__main__":
    sys.exit(main())
