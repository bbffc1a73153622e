"""Whether a file holds as many parts as its config asks for, told by the names of its tensors.

Modules are made as the config says, and one that asks for a thousand layers would have them made,
only for the loader to find that no tensor is theirs. So this is asked first.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from dsm_mlx.codec.config import MimiConfig
from dsm_mlx.errors import CheckpointError
from dsm_mlx.files.safetensors import Header
from dsm_mlx.lm.config import LmConfig
from dsm_mlx.messages import named

# What the config says of how many -> how many, and what the names of their tensors begin with.
Parts = dict[str, tuple[int, str]]

_PLACES = {
    "pytorch": {
        "n_q": "emb.",
        "dep_q": "linears.",
        "depformer_num_layers": "depformer.layers.",
        "depformer_weights_per_step_schedule": "depformer.layers.0.gating.",
    },
    "mlx": {
        "n_q": "audio_embs.",
        "dep_q": "depformer.slices.",
        "depformer_num_layers": "depformer.slices.0.transformer.layers.",
    },
    "transformers": {},
}
_BLOCKS = {"transformers": "model.layers."}  # others: "transformer.layers."
_OF_CODEC = {
    "pytorch": ("decoder_transformer.transformer.layers.", "quantizer.rvq_rest.vq.layers."),
    "transformers": (
        "decoder_transformer.layers.",
        "quantizer.acoustic_residual_vector_quantizer.layers.",
    ),
}


def check_lm(config: LmConfig, source: str, header: Header, path: Path, layout: str) -> None:
    """CheckpointError if a language model's config asks for more than its weights hold.

    source: what the config is called. layout: "pytorch", "mlx" or "transformers".
    """
    counts = {"n_q": config.n_q}
    if config.depth:
        counts["dep_q"] = config.dep_q
        counts["depformer_num_layers"] = config.depth.layers
        counts["depformer_weights_per_step_schedule"] = max(config.depth.schedule) + 1
    places = _PLACES[layout]
    parts = {key: (count, places[key]) for key, count in counts.items() if key in places}
    parts["num_layers"] = config.transformer.layers, _BLOCKS.get(layout, "transformer.layers.")
    parts["extra_heads_num_heads"] = config.extra_heads, "extra_heads."
    _check(parts, source, header, path)


def check_mimi(config: MimiConfig, source: str, header: Header, path: Path, layout: str) -> None:
    """The same for a codec. layout: "pytorch" or "transformers"."""
    blocks, codebooks = _OF_CODEC[layout]
    parts = {
        "num_layers": (config.transformer.layers, blocks),
        "n_q": (config.n_q - 1, codebooks),
    }
    _check(parts, source, header, path)


def _check(parts: Parts, source: str, header: Header, path: Path) -> None:
    for key, (asked, start) in parts.items():
        found = _count(header.tensors, start)
        if asked > found:
            raise CheckpointError(
                f"{source}: '{key}' asks for {asked} of {start}* (expected at most {found}, as in "
                f"{named(path)})"
            )


def _count(names: Iterable[str], start: str) -> int:
    """How many parts are numbered by what follows on `start`; one that is missing counts, too."""
    rests = (name[len(start) :] for name in names if name.startswith(start))
    numbers = (rest.partition(".")[0] for rest in rests)
    # Longer ones would be no number of ours, and some digits of other scripts are none at all.
    return max((int(n) + 1 for n in numbers if n.isdecimal() and len(n) < 7), default=0)
