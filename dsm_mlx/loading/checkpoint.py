"""A model's name -> files -> config -> weights in modules, every tensor accounted for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn

from dsm_mlx.codec import layout as codec_layout
from dsm_mlx.codec.config import OFFICIAL, MimiConfig
from dsm_mlx.codec.mimi import Mimi
from dsm_mlx.codec.model import MimiModel
from dsm_mlx.errors import CheckpointError
from dsm_mlx.files import safetensors, weight_map
from dsm_mlx.files.config_reader import ConfigReader
from dsm_mlx.files.hub import Files, LocalFiles, locate
from dsm_mlx.lm import layout as lm_layout
from dsm_mlx.lm.config import LmConfig
from dsm_mlx.lm.model import MultistreamLM
from dsm_mlx.loading.quantization import GROUP_SIZES, quantize, quantize_as_in_file
from dsm_mlx.loading.weights import FLOAT32, materialise
from dsm_mlx.runtime import worker
from dsm_mlx.runtime.device import on_cpu

DTYPES = {"float32": mx.float32, "bfloat16": mx.bfloat16, "float16": mx.float16}
MIMI, MIMI_CONFIG = "mimi.safetensors", "mimi_config.json"  # of a codec alone
_LISTED = 10


@dataclass(frozen=True)
class Outline:
    """A model as it lies in a file, with nothing read yet but the file's header."""

    path: Path
    header: safetensors.Header
    model: nn.Module
    layout: weight_map.WeightMap
    quantized: bool

    def tensors(self) -> dict[str, mx.array]:
        """The file's tensors, lazy. CheckpointError unless they are just those expected."""
        expected, found = weight_map.expected_shapes(self.layout), self.header.shapes
        problems = [f"missing: {n} {list(s)}" for n, s in expected.items() if n not in found]
        problems += [f"unexpected: {name}" for name in found if name not in expected]
        problems += [
            f"misshapen: {name} is {list(found[name])}, expected {list(shape)}"
            for name, shape in expected.items()
            if name in found and found[name] != shape
        ]
        if problems:
            listed = "; ".join(problems[:_LISTED])
            more = f"; and {len(problems) - _LISTED} more" if len(problems) > _LISTED else ""
            raise CheckpointError(f"{self.path}: does not fit its config: {listed}{more}")
        try:
            return mx.load(str(self.path), format="safetensors")
        except (RuntimeError, ValueError) as error:
            raise CheckpointError(f"{self.path}: cannot be loaded ({error})") from None


@dataclass(frozen=True)
class Checkpoint:
    """The files of one model or of a codec alone. Nothing big is read before a `load_…` is called.

    config: the model's; for a codec alone, what a model's config would say of it.
    """

    files: Files
    config: ConfigReader
    codec_alone: bool = False

    @classmethod
    def find(
        cls, model: str | Path | None, kind: str | None, revision: str | None = None
    ) -> Checkpoint:
        """Locate a model of `kind`, "stt" or "tts"; see `hub.locate`.

        With None it may be of either kind, or a folder without a config.json that holds a codec.
        """
        if kind is None and model is not None:
            folder = Path(model).expanduser()
            if folder.is_dir() and not (folder / "config.json").exists():
                return cls._of_codec(folder)
        files = locate(model, kind or "stt", revision)
        config = ConfigReader.read(files.get("config.json"))
        found = config.get("model_type", str, kind)
        if kind and found != kind:
            raise config.error("model_type", f"is {found!r} (expected {kind!r})")
        return cls(files, config)

    @classmethod
    def _of_codec(cls, folder: Path) -> Checkpoint:
        if not (folder / MIMI).is_file():
            raise CheckpointError(f"{folder}: holds neither config.json nor {MIMI}")
        names = {"mimi_name": MIMI}
        if (folder / MIMI_CONFIG).is_file():
            names["mimi_config_name"] = MIMI_CONFIG
        return cls(LocalFiles(folder), ConfigReader(names, str(folder)), codec_alone=True)

    @property
    def name(self) -> str:
        return self.files.name

    @property
    def kind(self) -> str:
        """ "stt", "tts" or "codec". A config without it is of a "tts" if the model writes codes."""
        if self.codec_alone:
            return "codec"
        default = "tts" if self.config.get("dep_q", int, 0) else "stt"
        return self.config.choice("model_type", ("stt", "tts"), default)

    @cached_property
    def weights(self) -> Path:
        return self.files.get(self.config.get("moshi_name", str, "model.safetensors"))

    def outline_lm(self) -> Outline:
        """The language model without its weights, to be loaded or converted."""
        header = safetensors.read_header(self.weights)
        convention = lm_layout.recognise(header.tensors)
        if convention is None:
            raise CheckpointError(f"{self.weights}: not the weights of a DSM model")
        model = MultistreamLM(LmConfig.read(self.config, _feed_forward_width(header)))
        plain = lm_layout.layout_of(model, convention)
        quantized = quantize_as_in_file(model, header, plain)
        layout = lm_layout.layout_of(model, convention)
        return Outline(self.weights, header, model, layout, quantized)

    def load_lm(
        self,
        bits: int | None = None,
        dtype: str | None = None,
        codebooks: int | None = None,
        cache: str | None = None,
    ) -> MultistreamLM:
        """The language model; layout and quantisation are recognised from the file.

        bits: 4 or 8 quantises a checkpoint that is not quantised yet.
        codebooks: how many a text-to-speech model shall write; None: all that it can.
        dtype: of activations and unquantised weights; None: float32 on the CPU, else bfloat16.
        cache: of keys and values, a dtype or "q8"; None: as `dtype`, or bfloat16 if that is left
        open and the weights are quantised.
        """
        if bits not in (None, *GROUP_SIZES):
            raise ValueError(f"bits is {bits!r} (expected 4 or 8)")
        if cache not in (None, *DTYPES, "q8"):
            raise ValueError(f"cache is {cache!r} (expected {', '.join(DTYPES)} or q8)")
        outline = self.outline_lm()
        model = outline.model
        model.load_weights(list(weight_map.load(outline.layout, outline.tensors()).items()))
        if codebooks is not None:
            model.keep_codebooks(codebooks)
        if bits and not outline.quantized:
            quantize(model, bits)
        materialise(model, dtype_of(dtype), keep=FLOAT32)
        model.cache = cache or default_cache(dtype, bool(bits) or outline.quantized)
        return model

    @property
    def mimi_config(self) -> ConfigReader | None:
        """The codec's config; None for the official Mimi."""
        name = self.config.get("mimi_config_name", str, None)
        return ConfigReader.read(self.files.get(name)) if name else None

    def outline_mimi(self) -> Outline:
        """The codec without its weights, to be loaded or converted."""
        return _outline_mimi(self.files.get(self.config.get("mimi_name", str)), self.mimi_config)

    def load_mimi(
        self, codebooks: int | None, *, encoder: bool = True, decoder: bool = True
    ) -> MimiModel:
        """The codec with the first `codebooks` (None: all) and the halves that are asked for."""
        return _load_mimi(self.outline_mimi(), codebooks, encoder, decoder)

    def load_codec_for(
        self, lm: MultistreamLM, codebooks: int, *, encoder: bool = True, decoder: bool = True
    ) -> MimiModel:
        """The codec whose codes `lm` reads or writes; CheckpointError if they do not fit."""
        try:
            mimi = self.load_mimi(codebooks, encoder=encoder, decoder=decoder)
        except ValueError as error:
            raise CheckpointError(f"{self.name}: the codec does not fit: {error}") from None
        if mimi.config.bins != lm.config.card:
            raise CheckpointError(
                f"{self.name}: the codec has {mimi.config.bins} values a codebook, "
                f"the model expects {lm.config.card}"
            )
        return mimi

    def load_tokenizer(self):
        """The SentencePieceProcessor of the text stream."""
        from sentencepiece import SentencePieceProcessor

        path = self.files.get(self.config.get("tokenizer_name", str))
        try:
            tokenizer = SentencePieceProcessor(model_file=str(path))
        except (RuntimeError, OSError, TypeError):
            raise CheckpointError(f"{path}: not a SentencePiece model") from None
        limit = self.config.positive("text_card")
        if tokenizer.get_piece_size() > limit:
            raise CheckpointError(
                f"{path}: has {tokenizer.get_piece_size()} pieces (expected at most text_card, "
                f"{limit})"
            )
        return tokenizer


def load_mimi(
    weights: Path,
    config: Path | None,
    codebooks: int | None = None,
    encoder: bool = True,
    decoder: bool = True,
) -> MimiModel:
    """A codec from its weights' file and its config (None: the official Mimi).

    codebooks: how many to keep; None keeps all. The weights stay float32: a codec in a smaller
    type gives other codes.
    """
    outline = _outline_mimi(weights, config and ConfigReader.read(config))
    return _load_mimi(outline, codebooks, encoder, decoder)


def _load_mimi(outline: Outline, codebooks: int | None, encoder: bool, decoder: bool) -> MimiModel:
    model, known = outline.model, outline.model.config.n_q
    if codebooks is None:
        codebooks = known
    if not 1 <= codebooks <= known:
        raise ValueError(f"codebooks is {codebooks} (expected 1 to {known})")
    model.load_weights(list(weight_map.load(outline.layout, outline.tensors()).items()))
    model.keep_codebooks(codebooks, encoder=encoder, decoder=decoder)
    materialise(model, mx.float32)
    return model


def load_codec(model: str | Path | None = None, *, codebooks: int | None = None) -> Mimi:
    """Load the codec of a model; see `dsm_mlx.load_codec`."""
    checkpoint = Checkpoint.find(model, None)
    return worker.run(lambda: Mimi(checkpoint.load_mimi(codebooks)))


def _outline_mimi(weights: Path, config: ConfigReader | None) -> Outline:
    header = safetensors.read_header(weights)
    model = MimiModel(MimiConfig.read(config) if config else OFFICIAL)
    quantized = quantize_as_in_file(model, header, codec_layout.pytorch(model))
    return Outline(weights, header, model, codec_layout.pytorch(model), quantized)


def _feed_forward_width(header: safetensors.Header) -> int | None:
    """Half the height of the first SwiGLU, which versions of the reference compute differently."""
    shape = header.shapes.get("transformer.layers.0.gating.linear_in.weight")
    return shape[0] // 2 if shape else None


def dtype_of(name: str | None) -> mx.Dtype:
    """The dtype of activations that a name stands for; None: what is fast on this device."""
    if name is None:
        return mx.float32 if on_cpu() else mx.bfloat16
    if name not in DTYPES:
        raise ValueError(f"dtype is {name!r} (expected one of {', '.join(DTYPES)})")
    return DTYPES[name]


def default_cache(dtype: str | None, quantized: bool) -> str | None:
    """How keys and values are kept: smaller where the user left it open and wants small weights."""
    return "bfloat16" if dtype is None and quantized else None
