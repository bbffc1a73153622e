"""Text to speech: what enters and leaves the model in every step of a script."""

import copy
import gc
from pathlib import Path

import torch
from common import official_config, save_arrays, save_json
from gen_lm import make_checkpoint, make_whole, open_checkpoint
from moshi.conditioners import dropout_all_conditions
from moshi.models.lm import LMModel
from moshi.models.tts import TTSModel
from safetensors.torch import save_file

CONFIG = {
    "card": 64, "n_q": 8, "dep_q": 8, "delays": [0, 0] + [2] * 7, "dim": 64, "text_card": 160,
    "existing_text_padding_id": 3, "num_heads": 4, "num_layers": 3, "hidden_scale": 4.125,
    "causal": True, "layer_scale": None, "context": 16, "max_period": 10000, "gating": "silu",
    "norm": "rms_norm_f32", "positional_embedding": "rope", "depformer_dim": 32,
    "depformer_num_heads": 4, "depformer_num_layers": 2, "depformer_dim_feedforward": 96,
    "depformer_multi_linear": True, "depformer_pos_emb": "none",
    "depformer_weights_per_step": True, "depformer_low_rank_embeddings": 16,
    "demux_second_stream": True, "text_card_out": None,
    "conditioners": {
        "speaker_wavs": {"type": "tensor", "tensor": {"dim": 24}},
        "cfg": {"type": "lut", "lut": {
            "n_bins": 7, "dim": 16, "tokenizer": "noop",
            "possible_values": ["1.0", "1.5", "2.0", "2.5", "3.0", "3.5", "4.0"],
        }},
        "control": {"type": "lut", "lut": {
            "dim": 64, "n_bins": 1, "tokenizer": "noop", "possible_values": ["ok"],
        }},
    },
    "fuser": {
        "cross_attention_pos_emb": True, "cross_attention_pos_emb_scale": 1,
        "sum": ["control", "cfg"], "prepend": [], "cross": ["speaker_wavs"],
    },
    "cross_attention": True,
    "tts_config": {"audio_delay": 0.32, "second_stream_ahead": 2},
    "model_id": {"sig": "deadbeef", "epoch": 7},
    "depformer_weights_per_step_schedule": [0, 1, 2, 3, 4, 4, 5, 5], "model_type": "tts",
    "lm_gen_config": {"temp": 0.6, "text_temp": 0.6},
    "tokenizer_name": "tokenizer_spm_160_en_fr_audio.model",
    "mimi_name": "tokenizer-e351c8d8-checkpoint125.safetensors",
    "moshi_name": "dsm_tts_deadbeef@7.safetensors", "mimi_config_name": "mimi_config.json",
}  # fmt: skip
ONE = [
    "Hello there, this is a small model: it says (almost) nothing useful. "
    '<break time="0.5s"/> Really?'
]
TWO = [
    "How are you today my friend",
    "I am fine, thank you. And you?",
    'Very well <break time="0.4s"/> indeed',
]
OTHER_FIRST = ["", "the other speaker starts here", "then me"]
# Sound is large, and Mimi has goldens of its own.
WITH_PCM = ("tts_other_first", "tts_nq4", "tts_two_nq8")
VOICES, FRAMES_PER_VOICE = 3, 10
UNCONDITIONED = {
    "conditioners": {}, "cross_attention": False, "text_card_out": 5,
    "fuser": {
        "cross_attention_pos_emb": False, "cross_attention_pos_emb_scale": 1,
        "sum": [], "prepend": [], "cross": [],
    },
}  # fmt: skip
SMALL_DEPTH = {
    "depformer_dim": 16, "depformer_num_heads": 2, "depformer_dim_feedforward": 48,
    "depformer_low_rank_embeddings": 8,
}  # fmt: skip
FEW_LAYERS = {"num_layers": 2, "depformer_num_layers": 1}


def voice_name(index: int, config: dict) -> str:
    model = config["model_id"]
    return f"voice{index}.wav.{model['sig']}@{model['epoch']}.safetensors"


def make_voices(folder: Path, config: dict, frames: int = FRAMES_PER_VOICE) -> None:
    tags = {k: str(v) for k, v in config["model_id"].items()}
    width = config["conditioners"]["speaker_wavs"]["tensor"]["dim"]
    for i in range(VOICES):
        g = torch.Generator().manual_seed(100 + i)
        voice = torch.randn(1, width, frames, generator=g)
        save_file({"speaker_wavs": voice}, folder / voice_name(i, config), metadata=tags)


class Recorder:
    """Keeps what passes the model's two halves, before guidance and the padding bonus."""

    def __init__(self, lm: LMModel):
        self.inputs, self.text, self.depth = [], [], []
        self._text, self._depth = lm.forward_text, lm.forward_depformer
        lm.forward_text, lm.forward_depformer = self.forward_text, self.forward_depformer

    def forward_text(self, tokens, *conditions):
        out, logits = self._text(tokens, *conditions)
        self.inputs.append(tokens.clone())
        self.text.append(logits[:, 0, 0].clone())
        return out, logits

    def forward_depformer(self, codebook, token, out):
        logits = self._depth(codebook, token, out)
        self.depth.append(logits[:, 0, 0].clone())
        return logits

    def arrays(self, dep_q: int, delay_steps: int) -> dict:
        depth = torch.stack(self.depth).unflatten(0, (-1, dep_q))  # (steps, dep_q, rows, card)
        keep = torch.tensor([0, 1, 2, 3, 4, len(depth) // 2, len(depth) - 1])
        return dict(
            lm_inputs=torch.cat(self.inputs, -1),
            text_logits=torch.stack(self.text, 1),
            # The depth decoder does not run during the delay.
            dep_steps=keep + delay_steps,
            dep_logits=depth[keep],
        )


def conditions(tts: TTSModel, attributes: list) -> dict:
    if not attributes:
        return {}
    if tts.cfg_coef != 1:
        attributes = attributes + dropout_all_conditions(attributes)
    tensors = tts.lm.condition_provider.prepare_and_provide(attributes)
    return dict(cond_sum=tts.lm.fuser.get_sum(tensors), cond_cross=tts.lm.fuser.get_cross(tensors))


def decode(tts: TTSModel, frames: list[torch.Tensor]) -> torch.Tensor:
    """Frame by frame, without the delay: as the reference's own script does it."""
    with tts.mimi.streaming(len(frames[0])):
        kept = frames[tts.delay_steps :]
        return torch.cat([tts.mimi.decode(f[:, 1:].clamp(min=0)) for f in kept], -1)


def decode_both(tts: TTSModel, frames: list[torch.Tensor]) -> torch.Tensor:
    """Two people's sound: the reference says which codes are whose, and decodes none of it."""
    used, starts = tts.n_q // 2, (1, 1 + tts.lm.n_q // 2)
    both = [[f[:, [0, *range(k, k + used)]] for f in frames] for k in starts]
    return sum(decode(tts, each) for each in both)


@torch.no_grad()
def make_case(
    folder: Path, config: dict, case: str, scripts: list[list[str]], voices: list[list[int]],
    *, cond_cfg=None, cfg_coef=1.0, n_q=8, padding_between=1, padding_bonus=0.0, prefixes=None,
    dtype=torch.float32, cfg_is_no_text=None, max_gen_length=160, info=None,
) -> None:  # fmt: skip
    settings = dict(
        max_gen_length=max_gen_length, final_padding=4, max_padding=8, initial_padding=2,
        n_q=n_q, cfg_coef=cfg_coef, padding_bonus=padding_bonus,
    )  # fmt: skip
    info = info or open_checkpoint(folder)
    tts = TTSModel.from_checkpoint_info(info, dtype=dtype, temp=0.0, **settings)
    entries = [tts.prepare_script(s, padding_between=padding_between) for s in scripts]
    names = [[voice_name(i, config) for i in row] for row in voices]
    attributes = []
    if config["conditioners"]:
        attributes = [
            tts.make_condition_attributes([folder / n for n in row], cond_cfg) for row in names
        ]
    guided = not tts.valid_cfg_conditionings
    if cfg_is_no_text is None:
        cfg_is_no_text = guided
    recorder = Recorder(tts.lm)
    result = tts.generate(
        entries,
        attributes,
        prefixes=prefixes and [p.clone() for p in prefixes],
        cfg_is_no_prefix=guided,
        cfg_is_no_text=cfg_is_no_text,
    )
    arrays = recorder.arrays(tts.lm.dep_q, tts.delay_steps) | conditions(tts, attributes)
    if case in WITH_PCM:
        arrays["pcm"] = (decode_both if tts.multistream else decode)(tts, result.frames)
    arrays |= {f"prefix{i}": p for i, p in enumerate(prefixes or [])}
    golden = folder.parents[1] / "golden"
    save_arrays(golden / f"{case}.npz", frames=torch.cat(result.frames, -1), **arrays)
    meta = settings | dict(
        checkpoint=folder.name,
        scripts=scripts,
        voices=names,
        cond_cfg=cond_cfg,
        padding_between=padding_between,
        cfg_is_no_text=cfg_is_no_text,
        cfg_is_no_prefix=guided,
        delay_steps=tts.delay_steps,
        entries=[
            [dict(tokens=e.tokens, text=e.text, padding=e.padding) for e in row] for row in entries
        ],
        end_steps=result.end_steps,
        consumption_times=result.all_consumption_times,
        transcripts=result.all_transcripts,
        logged_text_tokens=result.logged_text_tokens,
        n_frames=len(result.frames),
        n_steps=arrays["lm_inputs"].shape[-1],
    )
    save_json(golden / f"{case}.json", meta, indent=None)


def audio_prefix(frames: int, g: torch.Generator, config: dict = CONFIG) -> torch.Tensor:
    codes = torch.randint(0, config["card"], (config["n_q"], frames), generator=g)
    return torch.cat([torch.full((1, frames), -1), codes])


def make_conditioned(out: Path) -> None:
    """Voices by cross-attention, guidance learnt as a condition: like tts-1.6b."""
    folder = make_checkpoint(out, "tts-tiny", CONFIG, 41, text_boost=5)
    make_voices(folder, CONFIG)

    def case(name, scripts, voices, **options):
        make_case(folder, CONFIG, name, scripts, voices, **options)

    case("tts_1spk", [ONE], [[0]], cond_cfg=2.0)
    case("tts_1spk_cfgnone", [ONE], [[0]])
    case("tts_2spk", [TWO], [[0, 1]], cond_cfg=1.5)
    case("tts_other_first", [OTHER_FIRST], [[2, 1]], cond_cfg=4.0, padding_between=0)
    case("tts_batch2", [ONE, TWO], [[0], [1, 2]], cond_cfg=2.0)
    case("tts_padbonus", [ONE], [[0]], cond_cfg=2.0, padding_bonus=6.0)
    case("tts_nq4", [ONE], [[0]], cond_cfg=2.0, n_q=4)
    case("tts_novoice5", [ONE], [[0, 1, 2, 0, 1]], cond_cfg=3.5)
    case("tts_bf16", [ONE], [[0]], cond_cfg=2.0, dtype=torch.bfloat16)


def make_guided(out: Path) -> None:
    """No `cfg` conditioner: guidance takes two passes."""
    config = copy.deepcopy(CONFIG)
    del config["conditioners"]["cfg"]
    config["fuser"]["sum"] = ["control"]
    folder = make_checkpoint(out, "tts-tiny-nativecfg", config, 42, text_boost=5)
    make_voices(folder, config)

    def case(name, scripts, voices, **options):
        make_case(folder, config, name, scripts, voices, **options)

    case("tts_cfg2", [ONE], [[0]], cfg_coef=2.0)
    case("tts_cfg2_withtext", [ONE], [[0]], cfg_coef=2.0, cfg_is_no_text=False)
    case("tts_cfg1", [ONE], [[0]])
    case("tts_cfg2_batch2", [ONE, TWO], [[0], [1, 2]], cfg_coef=2.0)


def make_prefixed(out: Path) -> None:
    """No conditioners, five text outputs, a voice given as an audio prefix: like tts-0.75b."""
    config = copy.deepcopy(CONFIG) | UNCONDITIONED
    folder = make_checkpoint(out, "tts-tiny-public", config, 43)
    g = torch.Generator().manual_seed(9)
    long, short = audio_prefix(21, g), audio_prefix(13, g)

    def case(name, scripts, prefixes, **options):
        voices = [[] for _ in scripts]
        make_case(folder, config, name, scripts, voices, prefixes=prefixes, **options)

    case("tts_public_prefix", [ONE], [long])
    case("tts_public_prefix_cfg3", [ONE], [long], cfg_coef=3.0)
    both = [ONE, ["short one here"]]
    case("tts_public_prefix_cfg3_batch2", both, [long, short], cfg_coef=3.0)


def make_single_stream(out: Path) -> None:
    """One text stream, no lookahead."""
    config = copy.deepcopy(CONFIG) | dict(demux_second_stream=False)
    config["tts_config"]["second_stream_ahead"] = 0
    folder = make_checkpoint(out, "tts-tiny-single", config, 44, text_boost=5)
    make_voices(folder, config)
    make_case(folder, config, "tts_single", [TWO], [[0, 1]], cond_cfg=2.0)


def make_shared_keys(out: Path) -> None:
    """Two heads of queries share one of keys and values, in the depth decoder four."""
    config = copy.deepcopy(CONFIG) | FEW_LAYERS | UNCONDITIONED
    config |= dict(kv_repeat=2, depformer_kv_repeat=4)
    folder = make_checkpoint(out, "tts-tiny-shared", config, 49)
    prefix = audio_prefix(5, torch.Generator().manual_seed(9))
    make_case(folder, config, "tts_shared", [ONE], [[]], prefixes=[prefix])


def make_partial(out: Path) -> None:
    """It writes six of the eight codebooks that it hears."""
    config = copy.deepcopy(CONFIG) | FEW_LAYERS | SMALL_DEPTH
    config |= dict(dep_q=6, depformer_weights_per_step_schedule=[0, 1, 2, 3, 3, 3])
    folder = make_checkpoint(out, "tts-tiny-partial", config, 50, text_boost=5)
    make_voices(folder, config)
    make_case(folder, config, "tts_partial", [ONE], [[0]], cond_cfg=2.0, n_q=6)


def make_two_voices(out: Path) -> None:
    """Two people's sound at once, each with eight codebooks."""
    config = copy.deepcopy(CONFIG) | FEW_LAYERS | SMALL_DEPTH
    config |= dict(n_q=16, dep_q=16, delays=[0] + [0] + [2] * 7 + [0] + [2] * 7)
    config["depformer_weights_per_step_schedule"] = [0, 1, 2, 3, 3, 3, 3, 3] * 2
    config["tts_config"]["multistream"] = True
    folder = make_checkpoint(out, "tts-tiny-two", config, 51, text_boost=5)
    make_voices(folder, config)
    for case, n_q in (("tts_two", 16), ("tts_two_nq8", 8)):
        make_case(folder, config, case, [TWO[:1]], [[0, 1]], cond_cfg=1.5, n_q=n_q)


def make(out: Path) -> None:
    for part in (
        make_conditioned,
        make_guided,
        make_prefixed,
        make_single_stream,
        make_shared_keys,
        make_partial,
        make_two_voices,
    ):
        part(out)


def make_full_voice(out: Path, case: str, seed: int, times: int, n_q: int, changes: dict) -> None:
    """tts-1.6b: a voice of the official length and guidance as conditions."""
    config = official_config("tts-1.6b-en_fr") | changes
    folder = make_whole(out, case.replace("_", "-"), config, seed, text_boost=5)
    make_voices(folder, config, frames=125)
    options = dict(cond_cfg=2.0, n_q=n_q, max_gen_length=1000)
    make_case(folder, config, case, [[" ".join(ONE * times)]], [[0]], **options)


def make_full_prefix(out: Path, case: str, seed: int, times: int, n_q: int, changes: dict) -> None:
    """tts-0.75b: a voice as a prefix, guidance in two passes."""
    config = official_config("tts-0.75b-en-public") | changes
    folder = make_whole(out, case.replace("_", "-"), config, seed)
    prefix = audio_prefix(25, torch.Generator().manual_seed(9), config)
    options = dict(cfg_coef=3.0, n_q=n_q, max_gen_length=1000)
    make_case(folder, config, case, [[" ".join(ONE * times)]], [[]], prefixes=[prefix], **options)


# Six times the script is more than the 500 steps of the window. The depth decoder has none.
FULL = {
    "tts_full_voice": (make_full_voice, 45, 1, 32, {}),
    "tts_full_voice_window": (make_full_voice, 46, 6, 4, FEW_LAYERS),
    "tts_full_prefix": (make_full_prefix, 47, 1, 16, {}),
    "tts_full_prefix_window": (make_full_prefix, 48, 6, 16, FEW_LAYERS),
}


def make_full(out: Path) -> None:
    for case, (make_one, *options) in FULL.items():
        make_one(out, case, *options)
        gc.collect()  # models here are parts of circles
