"""Every stage of tools/train on sizes of a toy, in a Python that has PyTorch and moshi.

    python tests/train_stages.py WORK

Run by test_train_stages.py. WORK/once is trained in one go, WORK/bits a step at a time.
"""

import json
import shutil
import sys
from argparse import Namespace
from pathlib import Path

TRAIN = Path(__file__).parents[1] / "tools" / "train"
sys.path.insert(0, str(TRAIN))

import numpy as np  # noqa: E402
import run  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from learn import official  # noqa: E402
from learn.attention import attend  # noqa: E402
from learn.codec_decoder import Decoder  # noqa: E402
from learn.corpus import Corpus  # noqa: E402
from learn.encode import encode  # noqa: E402
from learn.language import Given  # noqa: E402
from learn.plan import Plan  # noqa: E402
from learn.script_labels import entries, scripted  # noqa: E402
from learn.tts import TextToSpeech  # noqa: E402
from speech import sessions, shards  # noqa: E402

SESSIONS = 3
DIALOGUE = (
    ("how", 0.16, 0.4, 0),
    ("are", 0.4, 0.5, 0),
    ("you", 0.5, 0.8, 0),
    ("fine", 2.5, 2.9, 1),
    ("thanks", 3.0, 3.6, 1),
    ("good", 5.5, 6.0, 0),
)


def small_settings():
    settings = json.loads((TRAIN / "tiny.json").read_text())
    codec = settings["codec"]
    codec["seanet"] |= {"dimension": 32, "n_filters": 2}
    codec["quantizer"] |= {"dimension": 16, "bins": 16, "input_dimension": 32}
    codec["quantizer"]["output_dimension"] = 32
    codec["transformer"] |= {"d_model": 32, "num_heads": 2, "num_layers": 1, "input_dimension": 32}
    codec["transformer"] |= {"dim_feedforward": 64, "output_dimensions": [32]}
    for name in ("stt", "tts"):
        settings[name] |= {"dim": 32, "num_heads": 2, "num_layers": 1, "card": 16}
        settings[name] |= {"text_card": 150, "depformer_dim": 16, "depformer_num_heads": 2}
    settings["tts"] |= {"depformer_num_layers": 1, "depformer_dim_feedforward": 32}
    settings["tokenizer"] = {"pieces": 150, "longest_piece": 12, "sentences": 300}
    for stage in settings["stages"].values():
        stage |= {"steps": 4, "batch": 2, "warm_up": 2}
    settings["stages"]["encoder"]["settle"] = 2
    return settings


def make_data(folder):
    for split in ("train", "tts"):
        made = [sessions.make(seed, shards.SPLITS[split]) for seed in range(SESSIONS)]
        shards.save(
            shards.path_of(folder, split, 0),
            pcm=torch.stack([torch.as_tensor(shards.to_int16(s.pcm)) for s in made]).numpy(),
            **shards.labels(made),
        )


def train(folder, settings, minutes):
    """Run the stages to their end; returns how often each had to be called."""
    calls = {}
    common = ["--resume", str(folder), "--settings", str(settings), "--device", "cpu"]
    common += ["--threads", "1", "--minutes", str(minutes), "--keep-sound"]
    for stage in ("tokenizer", "encoder", "decoder", "encode", "stt", "tts"):
        calls[stage] = 1
        # Codes of all splits in one go: stopping there is between shards, not steps.
        more = ["--minutes", "5"] if stage == "encode" else []
        while run.main(["--stage", stage, *common, *more]) == run.UNFINISHED:
            calls[stage] += 1
    return calls


def write_script(path):
    """What the labels of text to speech make of a short dialogue, for the test to compare."""
    words = [sessions.Spoken(*word) for word in DIALOGUE]
    made = scripted(words, 120, 2, 150, letters)
    script, due = entries(words, letters)
    found = {
        "entries": [[entry.tokens, entry.text, entry.padding] for entry in script],
        "due": due,
        "tokens": made.tokens.tolist(),
        "decisions": made.decisions.tolist(),
    }
    path.write_text(json.dumps(found))


def letters(word):
    return [10 + ord(c) - ord("a") for c in word]


def write_codes(folder, codec, path):
    """What `encode` makes of the sound, and what the codec itself does."""
    pcm = np.load(shards.path_of(folder / "data", "train", 0))["pcm"]
    with torch.no_grad():
        whole = official.load_codec(codec).encode(torch.from_numpy(shards.to_float(pcm))[:, None])
    np.savez(path, ours=encode(official.load_codec(codec), pcm), whole=whole.numpy())


def write_attention(path):
    """What training's attention gives, and what torch's own does, with the gradients of each."""
    steps = torch.arange(230)
    behind = steps[:, None] - steps
    masks = {"context": (behind >= 0) & (behind < 90), "causal": behind >= 0, "all": None}
    torch.manual_seed(0)
    given = torch.randn(3, 2, 4, len(steps), 16)
    found = {}
    for name, mask in masks.items():
        for kind, function in (("ours", attend), ("torch", F.scaled_dot_product_attention)):
            parts = given.clone().requires_grad_()
            out = function(*parts, None if mask is None else mask.expand(2, 1, -1, -1))
            out.square().sum().backward()
            found[f"{name} {kind}"] = np.concatenate([out[None].detach(), parts.grad])
    np.savez(path, **found)


def take_over(folder, settings, target):
    """Stages that go on from finished ones, exported before their first step."""
    plan = Plan(steps=4, batch=2, learning_rate=1e-3, warm_up=2)
    args = Namespace(device="cpu", resume=folder, codec=target / "codec", data=folder / "data")
    args.start = folder / "codec"
    Decoder(settings["codec"], plan, args).export(target / "decoder")
    start, corpus = folder / "tts", Corpus(folder / "data", "tts")
    words = folder / official.TOKENIZER
    given = Given(settings["tts"], corpus, folder / "codec", words, start=start)
    TextToSpeech(plan, given).export(target / "tts")


def main(work):
    write_script(work / "script.json")
    write_attention(work / "attention.npz")
    settings = work / "settings.json"
    settings.write_text(json.dumps(small_settings()))
    calls = {}
    make_data(work / "data")
    for name, minutes in (("once", 5), ("bits", 0)):
        shutil.copytree(work / "data", work / name / "data")
        calls[name] = train(work / name, settings, minutes)
    write_codes(work / "once", work / "once" / "codec", work / "codes.npz")
    take_over(work / "once", small_settings(), work / "taken over")
    (work / "calls.json").write_text(json.dumps(calls))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
