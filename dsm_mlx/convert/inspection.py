"""What a checkpoint is, in lines of text; no weights are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from dsm_mlx.codec import layout as codec_layout
from dsm_mlx.convert import voices
from dsm_mlx.convert.recipes import role
from dsm_mlx.convert.source import Source
from dsm_mlx.convert.weights import leaves, spec_of
from dsm_mlx.errors import CheckpointError
from dsm_mlx.files.tensors import flat
from dsm_mlx.lm import layout as lm_layout
from dsm_mlx.lm.config import LmConfig
from dsm_mlx.loading.outline import Outline
from dsm_mlx.messages import cut, listed

_KINDS = {"stt": "speech to text", "tts": "text to speech", "codec": "a codec alone"}
_LAYOUTS = {
    "mlx": "MLX layout",
    "pytorch": "PyTorch layout",
    "transformers": "Transformers layout",
}


def inspect(source: Source) -> list[str]:
    """Lines of two columns; what cannot be read is named under `missing` or `damaged`."""
    rows = [("kind", f"{_KINDS[source.kind]} ({source.kind})")]
    problems: list[str] = []
    if source.lm:
        rows += _part(lambda: _language_model(source), problems)
    rows += _part(lambda: _codec(source), problems)
    if source.lm:
        rows += _part(lambda: _tokenizer(source), problems)
    if source.kind == "tts":
        names = voices.beside(source)
        rows.append(("voices", f"{len(names)} beside it{': ' if names else ''}{_some(names)}"))
    rows += _conversion(source)
    rows += [("problem", problem) for problem in problems] or [("problem", "none: it is complete")]
    return [source.published_name] + [f"  {name:<16}{text}" for name, text in rows]


def _part(read: Callable[[], Iterator], problems: list[str]) -> list[tuple[str, str]]:
    try:
        return list(read())
    except CheckpointError as error:
        problems.append(str(error))
        return []


def _language_model(source: Source) -> Iterator[tuple[str, str]]:
    outline = source.checkpoint.outline_lm()
    outline.tensors()
    layout = _LAYOUTS[str(lm_layout.recognise(outline.header.tensors))]
    yield "weights", f"{_file(outline)}, {layout}"
    yield from _unknown(outline)
    if outline.lora:
        yield "LoRA", f"{outline.lora.file.path.name}, {outline.lora.about}"
    yield from _shape(outline.model.config)
    yield from _quantisation(outline)


def _shape(c: LmConfig) -> Iterator[tuple[str, str]]:
    t = c.transformer
    shared = f" that share {t.heads // t.kv_repeat} of keys and values" if t.kv_repeat > 1 else ""
    yield (
        "transformer",
        (
            f"dim {c.dim}, {t.layers} blocks, {t.heads} heads{shared}, "
            f"feed-forward 2 x {t.hidden}, window {t.context} frames"
        ),
    )
    written = f", of which it writes {c.dep_q}" if c.dep_q else ""
    voices = f", of {c.voices} voices" if c.voices > 1 else ""
    yield "streams", f"text {c.text_card}, {c.n_q} x audio {c.card}{written}{voices}"
    yield "delays", ", ".join(str(delay) for delay in c.delays) + " frames"
    if c.depth:
        sets = max(c.depth.schedule) + 1
        yield "depth decoder", f"dim {c.depth.dim}, {c.depth.layers} blocks, {sets} sets of weights"
    if c.extra_heads:
        yield "pause heads", str(c.extra_heads)
    for name, conditioner in c.conditioners.by_name.items():
        values = f": {', '.join(conditioner.values)}" if conditioner.values else ""
        yield "condition", f"{name} ({conditioner.kind}){values}"


def _unknown(outline: Outline) -> Iterator[tuple[str, str]]:
    if names := outline.unknown:
        yield "unknown", f"{listed([cut(name, 80) for name in names])} (left out)"


def _quantisation(outline: Outline) -> Iterator[tuple[str, str]]:
    if not outline.quantized:
        yield "quantised", "no"
        return
    blocks = outline.model.config.transformer.layers
    rows = Counter(
        (role(path, blocks), str(spec_of(module) or "not quantised"))
        for path, module in leaves(outline.model).items()
    )
    for (part, spec), count in rows.items():
        if part:
            yield "quantised", f"{part}: {spec} ({count} module{'s' * (count > 1)})"


def _codec(source: Source) -> Iterator[tuple[str, str]]:
    outline = source.codec
    outline.tensors()
    config = outline.model.config
    layout = codec_layout.recognise(outline.header.tensors)
    foreign = f", {_LAYOUTS[layout]}" if layout == "transformers" else ""
    yield "codec", f"{_file(outline)}{foreign}"
    yield from _unknown(outline)
    yield "codes", f"{config.n_q} x {config.bins}, {config.frame_rate} frames a second"
    if outline.quantized:
        yield from _quantisation(outline)


def _tokenizer(source: Source) -> Iterator[tuple[str, str]]:
    pieces = source.checkpoint.load_tokenizer().get_piece_size()
    yield "tokenizer", f"{source.checkpoint.tokenizer.name}, {pieces} pieces"


def _conversion(source: Source) -> Iterator[tuple[str, str]]:
    values = source.lm.config.get("model_id", dict, {}) if source.lm else source.codec_values
    record = values.get("conversion")
    if isinstance(record, dict):
        revision = f" at {record['revision']}" if record.get("revision") else ""
        yield "converted from", f"{record.get('source')}{revision}"
        if record.get("recipe"):
            yield "recipe", str(record["recipe"])


def _file(outline: Outline) -> str:
    infos = outline.header.tensors.values()
    kinds = Counter(info.dtype for info in infos)
    plain = type(outline.model)(outline.model.config)
    numbers = sum(array.size for _, array in flat(plain.parameters()))
    return (
        f"{outline.path.name}{_more(outline)}, {_size(outline.files.nbytes)}, {len(infos)} tensors "
        f"({', '.join(kinds)}), {numbers / 1e6:.1f} M weights"
    )


def _more(outline: Outline) -> str:
    count = len(outline.files.paths) - 1
    return f" and {count} more" if count else ""


def _size(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _some(names: list[str], shown: int = 5) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
