"""A very small language model with random weights, made on the spot in mlx-lm's layout."""

import json
from pathlib import Path

import mlx.core as mx

TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
# As of models that begin to think by themselves, and of some that know no system.
THINKING = TEMPLATE.replace("<|assistant|>{% endif %}", "<|assistant|><think>{% endif %}")
STRICT = (
    "{% if messages[0].role != 'user' %}{{ raise_exception('roles must be by turns') }}{% endif %}"
    + TEMPLATE
)
SPECIAL = ["<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<think>", "</think>"]
# Ġ is a space. A letter a token, so that a text has the same tokens wherever it stands.
ALPHABET = "Ġabcdefghijklmnopqrstuvwxyz.?"
CONFIG = {
    "model_type": "llama",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "intermediate_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
    "vocab_size": len(ALPHABET) + len(SPECIAL),
    "tie_word_embeddings": False,
}


def make(folder, template=TEMPLATE, seed=0, **config):
    """A folder as `mlx_lm.load` takes it. template: None for a model that knows no chat."""
    from mlx.utils import tree_flatten
    from mlx_lm.utils import _get_classes
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    folder = Path(folder)
    folder.mkdir(parents=True)
    config = CONFIG | config
    tokenizer = Tokenizer(models.BPE({sign: i for i, sign in enumerate(ALPHABET)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(SPECIAL)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=SPECIAL[0])
    wrapped.chat_template = template
    wrapped.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(config))
    mx.random.seed(seed)
    kind, arguments = _get_classes(config)
    weights = tree_flatten(kind(arguments.from_dict(config)).parameters())
    # Larger than as they begin, so that what is most likely depends on what was read.
    arrays = {name: 4 * array if "norm" not in name else array for name, array in weights}
    arrays["lm_head.weight"][len(ALPHABET) + 1 :] = 0  # it writes letters, and may end
    mx.save_safetensors(str(folder / "model.safetensors"), arrays)
    return folder
