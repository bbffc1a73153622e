"""The Transformers layout: what `transformers`' own models hear, of random weights.

Names and order of the weights are those of transformers' conversion scripts for the published
kyutai/stt-1b-en_fr-trfs, stt-2.6b-en-trfs and kyutai/mimi.
"""

import json
import re
import shutil
from pathlib import Path

import torch
from common import save_arrays, test_signal
from gen_lm import build, random_value
from gen_mimi import TINY, make_checkpoint
from gen_stt import CONFIG
from safetensors.torch import load_file, save_file
from sentencepiece import SentencePieceProcessor
from transformers import (
    KyutaiSpeechToTextConfig,
    KyutaiSpeechToTextFeatureExtractor,
    KyutaiSpeechToTextForConditionalGeneration,
    KyutaiSpeechToTextProcessor,
    MimiConfig,
    MimiModel,
    PreTrainedTokenizerFast,
)
from transformers.convert_slow_tokenizer import MoshiConverter

CODEC = dict(
    hidden_size=32, num_filters=2, codebook_size=16, codebook_dim=16,
    vector_quantization_hidden_dimension=16, num_quantizers=8, num_hidden_layers=2,
    num_attention_heads=4, num_key_value_heads=4, intermediate_size=48, sliding_window=20,
    upsample_groups=32,
)  # fmt: skip
OURS = TINY | {
    "seanet": TINY["seanet"] | {"dimension": 32, "n_filters": 2},
    "quantizer": {
        "dimension": 16, "n_q": 8, "bins": 16, "input_dimension": 32, "output_dimension": 32,
    },
    "transformer": TINY["transformer"] | {
        "d_model": 32, "dim_feedforward": 48, "input_dimension": 32, "output_dimensions": [32],
    },
}  # fmt: skip
LM = CONFIG | {"card": 16, "dim": 32, "num_layers": 2, "kv_repeat": 2, "extra_heads_num_heads": 0}
FRAMES = 60

# As in convert_kyutai_speech_to_text_to_hf.py and convert_mimi_checkpoint_to_pytorch.py.
_LM = {
    r"^transformer\.": "", r"^out_norm": "norm", r"gating\.linear_in": "mlp.fc1",
    r"gating\.linear_out": "mlp.fc2", r"out_proj": "o_proj.linear", "norm1": "input_layernorm",
    "norm2": "post_attention_layernorm", "alpha": "weight",
}  # fmt: skip
_MIMI = {
    r"conv\.conv\.conv|convtr\.convtr\.convtr|conv\.conv|convtr\.convtr": "conv",
    r"rvq_first(\.vq)?": "semantic_residual_vector_quantizer",
    r"rvq_rest(\.vq)?": "acoustic_residual_vector_quantizer",
    "_codebook": "codebook", "_initialized": "initialized", "embedding_sum": "embed_sum",
    r"coder\.model": "coder.layers", r"transformer\.transformer": "transformer",
    "linear1": "mlp.fc1", "linear2": "mlp.fc2", r"out_proj": "o_proj",
    "norm1": "input_layernorm", "norm2": "post_attention_layernorm",
    "layer_scale_1": "self_attn_layer_scale", "layer_scale_2": "mlp_layer_scale",
}  # fmt: skip


def halves(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows as a rotation of halves wants them, where Kyutai's rotates neighbours."""
    rows, columns = weight.shape
    return weight.view(heads, -1, 2, columns).transpose(1, 2).reshape(rows, columns)


def renamed(state: dict, names: dict, heads: int, kv_heads: int, end: str) -> dict:
    """The state with the names of the layout, and queries, keys and values apart."""
    found = {}
    for name, value in state.items():
        for pattern, new in names.items():
            name = re.sub(pattern, new, name)
        value = value.squeeze() if "norm" in name else value
        if not name.endswith("in_proj_weight"):
            found[name] = value
            continue
        width = value.shape[1] // heads
        q, k, v = value.split([heads * width, kv_heads * width, kv_heads * width])
        parts = {"q": halves(q, heads), "k": halves(k, kv_heads), "v": v}
        for part, weight in parts.items():
            found[name.replace("in_proj_weight", f"{part}_proj{end}")] = weight
    return found


def save(folder: Path, state: dict) -> None:
    state = {name: value.contiguous().clone() for name, value in state.items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def codec_state(scratch: Path) -> dict:
    make_checkpoint(scratch / "mimi.safetensors", OURS, codebooks=8, seed=71)
    return renamed(load_file(scratch / "mimi.safetensors"), _MIMI, 4, 4, ".weight")


def lm_state() -> dict:
    lm, g = build(LM, dtype=torch.float32), torch.Generator().manual_seed(72)
    for name, p in lm.named_parameters():
        p.copy_(random_value(name, p, g))
    state = {
        name.replace("in_projs.0.", "in_proj_").replace("out_projs.0.", "out_proj."): value
        for name, value in lm.state_dict().items()
    }
    zeros = torch.zeros(1, LM["dim"])
    tables = [state.pop("text_emb.weight"), *(state.pop(f"emb.{i}.weight") for i in range(8))]
    head = torch.cat([state.pop("text_linear.weight"), zeros])
    state = renamed(state, _LM, 4, 2, ".linear.weight")
    state["embed_tokens.embed_tokens.weight"] = torch.cat([*tables, zeros])
    state = {f"model.{name}": value for name, value in state.items()} | {"lm_head.weight": head}
    return {name: value.to(torch.bfloat16) for name, value in state.items()}


def sound(seed: int) -> torch.Tensor:
    """Of few digits, to be kept in less."""
    return test_signal(FRAMES * 1920, seed).mul(512).round().div(512)


def make_codec(out: Path, state: dict) -> None:
    folder = out / "checkpoints/mimi-trfs"
    folder.mkdir(parents=True, exist_ok=True)
    save(folder, state)
    MimiConfig(**CODEC).save_pretrained(folder)
    mimi, pcm = MimiModel.from_pretrained(folder), sound(73)
    codes = mimi.encode(pcm).audio_codes
    arrays = dict(codes=codes, pcm_in=pcm, pcm=mimi.decode(codes).audio_values[..., ::4])
    save_arrays(out / "golden/trfs_mimi.npz", **arrays)


def processor(tokenizer: Path) -> KyutaiSpeechToTextProcessor:
    """As transformers' script makes it."""
    ids = SentencePieceProcessor(str(tokenizer))
    fast = PreTrainedTokenizerFast(
        tokenizer_object=MoshiConverter(str(tokenizer)).converted(),
        chat_template=None,
        unk_token="<unk>",
        model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
        bos_token_id=ids.bos_id(),
        eos_token_id=ids.eos_id(),
        pad_token_id=ids.pad_id(),
    )
    extractor = KyutaiSpeechToTextFeatureExtractor(
        audio_delay_seconds=0.5, audio_silence_prefix_seconds=0.0
    )
    return KyutaiSpeechToTextProcessor(extractor, fast)


def make_listener(out: Path, codec: dict) -> None:
    folder = out / "checkpoints/stt-trfs"
    folder.mkdir(parents=True, exist_ok=True)
    rows = 97 + 8 * 17
    config = KyutaiSpeechToTextConfig(
        vocab_size=97, codebook_vocab_size=17, hidden_size=32, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=32,
        sliding_window=16, ffn_dim=176, num_codebooks=8, audio_bos_token_id=16,
        audio_pad_token_id=rows, bos_token_id=96, codec_config={"model_type": "mimi"} | CODEC,
        rope_parameters={"rope_type": "default", "rope_theta": 100000.0},
    )  # fmt: skip
    config.save_pretrained(folder)
    save(folder, lm_state() | {f"codec_model.{name}": value for name, value in codec.items()})
    both = processor(out / "checkpoints/tokenizers" / CONFIG["tokenizer_name"])
    both.save_pretrained(folder)
    model = KyutaiSpeechToTextForConditionalGeneration.from_pretrained(folder, dtype="float32")
    pcm = sound(74)
    # All at once: frame by frame, with an `audio_window_size` of 1, this version hears something
    # else than what it hears in a whole file.
    model.generation_config.audio_window_size = None
    tokens = model.generate(input_values=pcm, do_sample=False)
    said = both.tokenizer
    lines = (Path(__file__).parent / "text.txt").read_text().splitlines()[:20]
    ids = [token for line in lines for token in [*said(line)["input_ids"], -1]]
    save_arrays(out / "golden/trfs_stt.npz", pcm_in=pcm, text_ids=ids, tokens=tokens)


@torch.no_grad()
def make(out: Path) -> None:
    scratch = out / "scratch"
    codec = codec_state(scratch)
    shutil.rmtree(scratch)
    make_codec(out, codec)
    make_listener(out, codec)
    for name in ("mimi-trfs", "stt-trfs"):
        path = out / "checkpoints" / name / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()), indent=1) + "\n")
