"""Speech to text: tokens, logits and extra heads over five times the window."""

import gc
import math
from collections import deque
from pathlib import Path

import torch
from common import official_config, save_arrays, test_signal
from gen_lm import make_checkpoint, make_whole, open_checkpoint
from moshi.conditioners import ConditionAttributes
from moshi.models import LMGen
from moshi.models.lm import LMModel

CONFIG = {
    "card": 64, "n_q": 8, "dep_q": 0, "delays": [0] * 9, "dim": 64, "text_card": 96,
    "existing_text_padding_id": 3, "num_heads": 4, "num_layers": 3, "hidden_scale": 4.125,
    "causal": True, "layer_scale": None, "context": 16, "max_period": 100000.0, "gating": "silu",
    "norm": "rms_norm_f32", "positional_embedding": "rope", "depformer_dim": 64,
    "depformer_num_heads": 4, "depformer_num_layers": 2, "depformer_dim_feedforward": 264,
    "depformer_multi_linear": True, "depformer_pos_emb": "none",
    "depformer_weights_per_step": True, "conditioners": {}, "fuser": None,
    "cross_attention": False, "model_type": "stt",
    "lm_gen_config": {"temp": 0.0, "temp_text": 0.0, "top_k": 250, "top_k_text": 50},
    "stt_config": {"audio_delay_seconds": 0.5, "audio_silence_prefix_seconds": 0.0},
    "extra_heads_num_heads": 4, "extra_heads_dim": 6,
    "mimi_name": "mimi-pytorch-e351c8d8@125.safetensors",
    "tokenizer_name": "tokenizer_en_fr_audio_96.model",
    "moshi_name": "model.safetensors", "mimi_config_name": "mimi_config.json",
}  # fmt: skip
LANGUAGE = {"dim": 24, "n_bins": 4, "tokenizer": "noop", "possible_values": ["en", "fr"]}
VARIANTS = {
    "stt-tiny": (21, {}),
    "stt-tiny-delayed": (22, {"delays": [0, 0] + [1] * 7, "extra_heads_num_heads": 0}),
    "stt-tiny-26": (23, {
        "text_card": 80, "extra_heads_num_heads": 0,
        "stt_config": {"audio_delay_seconds": 2.5, "audio_silence_prefix_seconds": 1.0},
        "tokenizer_name": "tokenizer_en_audio_80.model",
    }),
    # Every width divides by 64, so that q4 and q8 can be made from it.
    "stt-q64": (24, {"hidden_scale": 4.5}),
    # Two heads of queries share one of keys and values.
    "stt-tiny-shared": (26, {"kv_repeat": 2, "num_layers": 2, "extra_heads_num_heads": 0}),
    # hidden_scale 4: the one value for which the reference has another rule for the gate's width.
    "stt-tiny-cond": (25, {
        "hidden_scale": 4, "extra_heads_num_heads": 0,
        "conditioners": {"language": {"type": "lut", "lut": LANGUAGE}},
        "fuser": {"sum": ["language"], "prepend": [], "cross": []},
    }),
}  # fmt: skip
# What is said before the sound, by name of the checkpoint: the prompt's text.
PROMPTS = {"stt-tiny": "we knew", "stt-tiny-26": "let us"}
PROMPT_FRAMES, SILENT_FRAMES = 14, 10
RESET_STEP, RESET_ROWS = 30, [False, True, False]


class PromptHook:
    """As it stands in scripts/stt_from_file_with_prompt_pytorch.py of delayed-streams-modeling."""

    def __init__(self, tokenizer, prefix, padding_tokens=(0, 3)):
        self.tokenizer = tokenizer
        self.prefix_enforce = deque(self.tokenizer.encode(prefix))
        self.padding_tokens = padding_tokens

    def on_token(self, token):
        if not self.prefix_enforce:
            return

        token = token.item()

        if token in self.padding_tokens:
            pass
        elif token == self.prefix_enforce[0]:
            self.prefix_enforce.popleft()
        else:
            raise AssertionError(f"{token} was said")

    def on_logits(self, logits):
        if not self.prefix_enforce:
            return

        mask = torch.zeros_like(logits, dtype=torch.bool)
        for t in self.padding_tokens:
            mask[..., t] = True
        mask[..., self.prefix_enforce[0]] = True

        logits[:] = torch.where(mask, logits, float("-inf"))


def prompted(info, lm: LMModel, pcm: torch.Tensor, text: str, sound: bool) -> torch.Tensor:
    """The tokens of all frames, the prompt's first: as the script does it, with frame 0 fed twice.

    pcm: the prompt's PROMPT_FRAMES, heard if `sound`, and the caller's. text: forced, or "".
    """
    hook, mimi = PromptHook(info.get_text_tokenizer(), text), info.get_mimi()
    size, config = mimi.frame_size, info.stt_config
    silence = torch.zeros(1, 1, size)
    chain = [silence] * math.ceil(config["audio_silence_prefix_seconds"] * mimi.frame_rate)
    split = pcm.split(size, dim=-1)
    if sound:
        chain += [*split[:PROMPT_FRAMES], *[silence] * SILENT_FRAMES]
    chain += [*split[PROMPT_FRAMES:], *[silence] * math.ceil(
        config["audio_delay_seconds"] * mimi.frame_rate
    )]  # fmt: skip
    codes, tokens = mimi.encode(torch.cat(chain, -1)), []

    def on_token(token):
        hook.on_token(token)
        tokens.append(token.clone())

    gen = LMGen(lm, use_sampling=False, on_text_hook=on_token, on_text_logits_hook=hook.on_logits)
    with gen.streaming(1):
        for frame in torch.cat([codes[..., :1], codes], -1).split(1, dim=-1):
            gen.step(frame)
    assert not hook.prefix_enforce, f"{text} has not been said"
    return torch.cat(tokens)


def run(lm: LMModel, codes: torch.Tensor, conditions=None) -> dict[str, torch.Tensor]:
    """Greedy run over (rows, n_q, frames): what is sampled in each step, and from what."""
    tokens, logits, heads = [], [], []
    gen = LMGen(
        lm,
        use_sampling=False,
        condition_tensors=conditions,
        on_text_hook=lambda t: tokens.append(t.clone()),
        on_text_logits_hook=lambda x: logits.append(x[:, 0, 0].clone()),
    )
    with gen.streaming(len(codes)):
        for frame in codes.split(1, dim=-1):
            step = gen.step_with_extra_heads(frame)
            if step and step[1]:
                heads.append(torch.stack(step[1], 1)[:, :, 0])
    result = dict(text_tokens=torch.stack(tokens, -1), text_logits=torch.stack(logits, 1))
    if heads:
        result["extra_heads"] = torch.stack(heads, 2)
    return result


def run_doubled(lm: LMModel, codes: torch.Tensor, conditions=None) -> dict[str, torch.Tensor]:
    """The reference never sees its first frame. With that frame fed twice nothing is lost."""
    found = run(lm, torch.cat([codes[..., :1], codes], -1), conditions)
    return {f"dbl_{k}": v for k, v in found.items()}


def random_codes(rows: int, config: dict, frames: int) -> torch.Tensor:
    random = torch.Generator().manual_seed(5)
    return torch.randint(0, config["card"], (rows, config["n_q"], frames), generator=random)


def run_out_of_sync(lm: LMModel, codes: torch.Tensor) -> dict[str, torch.Tensor]:
    """Batch rest at random, one is reset on the way; a resting row's token is -2."""
    random = torch.Generator().manual_seed(6)
    masks = torch.rand(codes.shape[-1], len(codes), generator=random) > 0.3
    tokens = []
    gen = LMGen(
        lm,
        use_sampling=False,
        support_out_of_sync=True,
        on_text_hook=lambda t: tokens.append(t.clone()),
    )
    with gen.streaming(len(codes)):
        for step, frame in enumerate(codes.split(1, dim=-1)):
            if step == RESET_STEP:
                gen.reset_streaming(torch.tensor(RESET_ROWS))
            gen.set_exec_mask(masks[step])
            gen.step(frame)
    return dict(
        oos_exec_mask=masks,
        oos_reset_step=RESET_STEP,
        oos_reset_rows=RESET_ROWS,
        oos_text_tokens=torch.stack(tokens, -1).where(masks.T, -2),
    )


def languages(lm: LMModel) -> dict:
    rows = [ConditionAttributes(text={"language": x}) for x in ("en", "fr", None)]
    return lm.condition_provider.prepare_and_provide(rows)


@torch.no_grad()
def make(out: Path) -> None:
    for name, (seed, changes) in VARIANTS.items():
        info = open_checkpoint(make_checkpoint(out, name, CONFIG | changes, seed))
        lm = info.get_moshi(dtype=torch.float32)
        codes = random_codes(3, CONFIG, 80)
        conditions = languages(lm) if lm.fuser else None
        arrays = run_doubled(lm, codes, conditions)
        if conditions:
            arrays["cond_sum"] = lm.fuser.get_sum(conditions)
        else:
            arrays |= run_out_of_sync(lm, codes)
        tokens = run(lm, codes, conditions)["text_tokens"]
        golden = out / "golden"
        stem = name.replace("-", "_")
        save_arrays(golden / f"{stem}.npz", codes=codes, text_tokens=tokens, **arrays)
        if name in PROMPTS:
            pcm, text = test_signal(60 * 1920, seed=31), PROMPTS[name]
            cases = {"text": (text, False), "audio": ("", True), "both": (text, True)}
            if CONFIG["stt_config"] != info.stt_config:
                del cases["text"]  # the script's silence is half a frame longer than ours there
            said = {
                f"{case}_tokens": prompted(info, lm, pcm, *given) for case, given in cases.items()
            }
            ids = info.get_text_tokenizer().encode(text)
            save_arrays(golden / f"{stem}_prompt.npz", text_ids=ids, **said)
        if name == "stt-tiny":
            pcm = test_signal(60 * 1920, seed=31)
            heard = info.get_mimi().encode(pcm)
            words = run_doubled(lm, heard)["dbl_text_tokens"]
            path = golden / f"{stem}_e2e.npz"
            save_arrays(path, pcm=pcm, codes=heard, dbl_text_tokens=words)


def make_full_from_pcm(out: Path, config: dict) -> None:
    info = open_checkpoint(make_whole(out, "stt-full", config, 26))
    mimi, pcm = info.get_mimi(), test_signal(64 * 1920, seed=32)
    latent, codes = mimi._encode_to_unquantized_latent(pcm), mimi.encode(pcm)
    found = run_doubled(info.get_moshi(dtype=torch.float32), codes)
    save_arrays(out / "golden/stt_full.npz", pcm=pcm, latent=latent, codes=codes, **found)


def make_full_past_window(out: Path, config: dict) -> None:
    """Two layers: what a frame that has left the window did to the first is still in the second."""
    folder = make_whole(out, "stt-full-window", config | dict(num_layers=2), 27)
    lm, codes = open_checkpoint(folder).get_moshi(dtype=torch.float32), random_codes(1, config, 850)
    save_arrays(out / "golden/stt_full_window.npz", codes=codes, **run_doubled(lm, codes))


@torch.no_grad()
def make_full(out: Path) -> None:
    for part in (make_full_from_pcm, make_full_past_window):
        part(out, official_config("stt-1b-en_fr-candle"))
        gc.collect()
