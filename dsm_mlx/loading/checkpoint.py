"""A model's name -> files -> config -> weights in modules, every tensor accounted for."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike
from pathlib import Path

import mlx.core as mx

from dsm_mlx.checks import check_whole
from dsm_mlx.codec import layout as codec_layout
from dsm_mlx.codec.config import OFFICIAL, MimiConfig
from dsm_mlx.codec.mimi import Mimi
from dsm_mlx.codec.model import MimiModel
from dsm_mlx.errors import CheckpointError
from dsm_mlx.files.config_reader import ConfigReader
from dsm_mlx.files.hub import CONFIG, NAMED, Files, LocalFiles, locate
from dsm_mlx.files.safetensors import Header
from dsm_mlx.files.tensors import TensorFiles
from dsm_mlx.lm import layout as lm_layout
from dsm_mlx.lm.config import MOST_VALUES, LmConfig
from dsm_mlx.lm.model import MultistreamLM
from dsm_mlx.loading import fit
from dsm_mlx.loading.foreign import (
    CODEC,
    CODEC_PREFIX,
    TOKENIZER,
    Foreign,
    codec_values,
    weight_files,
)
from dsm_mlx.loading.lora import Lora, LoraFile
from dsm_mlx.loading.options import LoadOptions, default_cache, dtype_of
from dsm_mlx.loading.outline import Outline
from dsm_mlx.loading.quantization import quantize, quantize_as_in_file
from dsm_mlx.loading.refused import read_config
from dsm_mlx.loading.tokenizer import sentencepiece_of
from dsm_mlx.loading.weights import FLOAT32
from dsm_mlx.messages import named
from dsm_mlx.runtime import worker
from dsm_mlx.runtime.worker import Pieces, complete

log = logging.getLogger("dsm_mlx")

MIMI, MIMI_CONFIG = "mimi.safetensors", "mimi_config.json"  # of a codec alone


@dataclass(frozen=True)
class Checkpoint:
    """The files of one model or of a codec alone. Nothing big is read before a `load_…` is called.

    config: the model's; for a codec alone, what a model's config would say of it.
    given_lora: in the place of the one that the config names, if it names one.
    foreign: of the Transformers layout, what configs of ours would say; `config` is one of them.
    """

    files: Files
    config: ConfigReader
    codec_alone: bool = False
    given_lora: LoraFile | None = None
    foreign: Foreign | None = None

    @classmethod
    def find(
        cls,
        model: str | PathLike[str] | None,
        kind: str | None,
        revision: str | None = None,
        lora: str | PathLike[str] | None = None,
    ) -> Checkpoint:
        """Locate a model of `kind`, "stt" or "tts"; see `hub.locate`.

        With None it may be of either kind, or a folder without a config.json that holds a codec.
        lora: see `LoraFile.given`.
        """
        mark = (CONFIG,) if kind else (CONFIG, MIMI)
        files = locate(model, kind or "stt", revision, mark)
        if kind is None and isinstance(files, LocalFiles) and not files.has(CONFIG):
            if lora is not None:
                raise CheckpointError(f"{named(files.folder)}: a codec alone, which takes no LoRA")
            return cls._of_codec(files)
        config = read_config(files)
        checkpoint = cls.of(files, config)
        found = checkpoint.config.get("model_type", str, kind)
        if kind and (found != kind or checkpoint.codec_alone):
            raise config.wrong("model_type", config.values["model_type"], repr(kind))
        if lora is None:
            return checkpoint
        if checkpoint.codec_alone:
            raise CheckpointError(f"{config.source}: of a codec alone, which takes no LoRA")
        return replace(checkpoint, given_lora=LoraFile.given(lora, checkpoint.config))

    @classmethod
    def of(cls, files: Files, config: ConfigReader) -> Checkpoint:
        """That of a config.json, in whatever layout it is."""
        found = Foreign.of(config, files)
        if found is None:
            return cls(files, config)
        values, alone = found.model or found.names, found.model is None
        return cls(files, ConfigReader(values, config.source), alone, foreign=found)

    @classmethod
    def _of_codec(cls, files: LocalFiles) -> Checkpoint:
        if not files.has(MIMI):
            raise CheckpointError(f"{named(files.folder)}: holds neither {CONFIG} nor {MIMI}")
        names = {"mimi_name": MIMI}
        if files.has(MIMI_CONFIG):
            names["mimi_config_name"] = MIMI_CONFIG
        return cls(files, ConfigReader(names, named(files.folder)), codec_alone=True)

    @property
    def name(self) -> str:
        """What messages call it; see `Files`."""
        return self.files.name

    @property
    def title(self) -> str:
        """The name as text that UTF-8 can encode, since servers send it."""
        return self.name.encode("utf-8", "backslashreplace").decode()

    @property
    def kind(self) -> str:
        """ "stt", "tts" or "codec". A config without it is of a "tts" if the model writes codes."""
        if self.codec_alone:
            return "codec"
        default = "tts" if self.config.values.get("dep_q") else "stt"
        return self.config.choice("model_type", ("stt", "tts"), default)

    @cached_property
    def weights(self) -> TensorFiles:
        """The files of the language model."""
        if self.foreign:
            return TensorFiles(weight_files(self.files), others=CODEC_PREFIX)
        name = self.config.get("moshi_name", str, "model.safetensors")
        return TensorFiles((self.files.get(name),))

    @property
    def codec_weights(self) -> TensorFiles:
        """The files of the codec."""
        if self.foreign:
            prefix = "" if self.codec_alone else CODEC_PREFIX
            return TensorFiles(weight_files(self.files), prefix=prefix)
        return TensorFiles((self.files.get(self.config.get("mimi_name", str)),))

    @property
    def paths(self) -> list[Path]:
        """All files that it consists of."""
        own = [] if self.codec_alone and not self.foreign else [self.files.get(CONFIG)]
        if self.foreign:
            tokenizer = [] if self.codec_alone else [self.files.get(TOKENIZER)]
            return [*own, *weight_files(self.files), *tokenizer]
        names = [self.config.get(key, str, None) for key in NAMED if key != "lora_name"]
        named_ones = [self.files.get(name) for name in names if name]
        lora = [self.lora.path] if self.lora else []
        return [*own, *([] if self.codec_alone else self.weights.paths), *named_ones, *lora]

    @cached_property
    def lora(self) -> LoraFile | None:
        """What is added to the weights, given or named by the config."""
        return self.given_lora or LoraFile.of_config(self.config, self.files)

    def outline_lm(self, dtype: mx.Dtype | None = None) -> Outline[MultistreamLM]:
        """The language model without its weights, to be loaded or converted.

        dtype: in which a LoRA is fused; None: in that of each weight.
        """
        path, header = self.weights.paths[0], self.weights.header
        convention = lm_layout.recognise(header.tensors)
        if convention is None:
            raise CheckpointError(f"{named(path)}: not the weights of a DSM model")
        config = LmConfig.read(self.config, _feed_forward_width(header))
        if convention == "transformers" and (config.dep_q or config.extra_heads):
            raise CheckpointError(
                f"{named(path)}: of the Transformers layout, whose models only hear"
            )
        fit.check_lm(config, self.config.source, header, path, convention)
        model = MultistreamLM(config)
        plain, published = (lm_layout.layout_of(model, kind) for kind in (convention, "pytorch"))
        quantized = quantize_as_in_file(model, header, plain)
        if self.lora and quantized:
            raise CheckpointError(
                f"{named(path)}: is quantised, so no LoRA can be fused into it (take its original, "
                "and quantise that while loading or with dsm-convert)"
            )
        lora = None if self.lora is None else Lora.of(self.lora, model, published, dtype)
        layout = lm_layout.layout_of(model, convention)
        return Outline(self.weights, model, layout, quantized, lora)

    def load_lm(
        self,
        bits: int | None = None,
        dtype: str | None = None,
        codebooks: int | None = None,
        cache: str | None = None,
    ) -> MultistreamLM:
        """As `read_lm`, in one go. The arguments are those of `LoadOptions`."""
        return complete(self.read_lm(LoadOptions(bits, dtype, cache, codebooks)))

    def read_lm(self, options: LoadOptions) -> Pieces[MultistreamLM]:
        """The language model; layout and quantisation are recognised from the file."""
        # Quantised is what would be written, of the same values.
        outline = self.outline_lm(None if options.bits else dtype_of(options.dtype))
        model = outline.model
        outline.read_into_model()
        if outline.lora:
            log.info("LoRA %s: %s", named(outline.lora.file.path), outline.lora.about)
        if options.codebooks is not None:
            model.keep_codebooks(options.codebooks)
        if options.bits and not outline.quantized:
            quantize(model, options.bits)
        yield from outline.materialise(dtype_of(options.dtype), keep=FLOAT32)
        for _ in model.prepare():
            yield 1.0
        small = bool(options.bits) or outline.quantized
        model.cache = options.cache or default_cache(options.dtype, small)
        return model

    @property
    def mimi_config(self) -> ConfigReader | None:
        """The codec's config; None for the official Mimi."""
        if self.foreign:
            return ConfigReader(self.foreign.codec, self.config.source)
        name = self.config.get("mimi_config_name", str, None)
        return _codec_config(self.files.get(name)) if name else None

    def outline_mimi(self) -> Outline[MimiModel]:
        """The codec without its weights, to be loaded or converted."""
        return _outline_mimi(self.codec_weights, self.mimi_config)

    def load_mimi(
        self, codebooks: int | None, *, encoder: bool = True, decoder: bool = True
    ) -> MimiModel:
        """The codec with the first `codebooks` (None: all) and the halves that are asked for."""
        return complete(_read_mimi(self.outline_mimi(), codebooks, encoder, decoder))

    def read_codec_for(
        self, lm: MultistreamLM, codebooks: int, *, encoder: bool = True, decoder: bool = True
    ) -> Pieces[MimiModel]:
        """The codec whose codes `lm` reads or writes; CheckpointError if they do not fit."""
        outline = self.outline_mimi()
        self.check_codec_fits(lm.config, outline.model.config)
        return (yield from _read_mimi(outline, codebooks, encoder, decoder))

    def check_codec_fits(self, lm: LmConfig, codec: MimiConfig) -> None:
        """CheckpointError unless the codes of `codec` are those that `lm` reads or writes."""
        if lm.codebooks > codec.n_q:
            raise CheckpointError(
                f"{named(self.name)}: the codec does not fit: it has {codec.n_q} codebooks, the "
                f"model expects {lm.codebooks}"
            )
        if codec.bins != lm.card:
            raise CheckpointError(
                f"{named(self.name)}: the codec has {codec.bins} values a codebook, the model "
                f"expects {lm.card}"
            )

    @property
    def tokenizer(self) -> Path:
        """The file of the text stream's tokenizer."""
        name = TOKENIZER if self.foreign else self.config.get("tokenizer_name", str)
        return self.files.get(name)

    def sentencepiece(self) -> bytes:
        """The tokenizer as a SentencePiece model. OSError if it cannot be read."""
        path = self.tokenizer
        return sentencepiece_of(path) if self.foreign else path.read_bytes()

    def load_tokenizer(self):
        """The SentencePieceProcessor of the text stream."""
        from sentencepiece import SentencePieceProcessor

        path = self.tokenizer
        source = named(path)
        try:
            # not by its name, of which SentencePiece takes UTF-8 only
            tokenizer = SentencePieceProcessor()
            tokenizer.LoadFromSerializedProto(self.sentencepiece())
        except (RuntimeError, OSError, TypeError):
            raise CheckpointError(f"{source}: not a SentencePiece model") from None
        limit = self.config.integer("text_card", 1, MOST_VALUES)
        if tokenizer.get_piece_size() > limit:
            raise CheckpointError(
                f"{source}: has {tokenizer.get_piece_size()} pieces (expected at most text_card, "
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
    outline = _outline_mimi(
        TensorFiles((weights,)), None if config is None else _codec_config(config)
    )
    return complete(_read_mimi(outline, codebooks, encoder, decoder))


def _read_mimi(
    outline: Outline[MimiModel], codebooks: int | None, encoder: bool, decoder: bool
) -> Pieces[MimiModel]:
    model, known = outline.model, outline.model.config.n_q
    if codebooks is None:
        codebooks = known
    check_whole("codebooks", codebooks, 1, known)
    outline.read_into_model()
    model.keep(codebooks, encoder=encoder, decoder=decoder)
    yield from outline.materialise(mx.float32)
    return model


def load_codec(model: str | PathLike[str] | None = None, *, codebooks: int | None = None) -> Mimi:
    """Load the codec of a model; see `dsm_mlx.load_codec`."""
    checkpoint = Checkpoint.find(model, None)

    def loaded() -> Pieces[Mimi]:
        outline = checkpoint.outline_mimi()
        return Mimi((yield from _read_mimi(outline, codebooks, encoder=True, decoder=True)))

    return worker.run_pieces(loaded())


def _codec_config(path: Path) -> ConfigReader:
    """Kyutai's, or that of Transformers as Kyutai's would be."""
    raw = ConfigReader.read(path)
    if raw.values.get("model_type") == CODEC:
        return ConfigReader(codec_values(raw), raw.source)
    return raw


def _outline_mimi(weights: TensorFiles, raw: ConfigReader | None) -> Outline[MimiModel]:
    header, path = weights.header, weights.paths[0]
    config = MimiConfig.read(raw) if raw else OFFICIAL
    layout = codec_layout.recognise(header.tensors)
    fit.check_mimi(config, raw.source if raw else "the official Mimi", header, path, layout)
    model = MimiModel(config)
    quantized = quantize_as_in_file(model, header, codec_layout.layout_of(model, layout))
    return Outline(weights, model, codec_layout.layout_of(model, layout), quantized)


def _feed_forward_width(header: Header) -> int | None:
    """Half the height of the first SwiGLU, which versions of the reference compute differently."""
    for name in ("transformer.layers.0.gating.linear_in.weight", "model.layers.0.mlp.fc1.weight"):
        if shape := header.shapes.get(name):
            return shape[0] // 2
    return None
