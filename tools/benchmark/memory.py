"""What the official models need of a machine's memory and of its bandwidth. Nothing is allocated.

As on a Mac's GPU: weights in bfloat16 or quantised while loading, with the tables of compiled
steps. Prints the tables of docs/memory.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from benchmark import counts, models, stt, tts
from dsm_mlx.codec.config import OFFICIAL
from dsm_mlx.lm.model import MultistreamLM
from dsm_mlx.loading.core import rows_that_fit
from dsm_mlx.loading.voices import SPEAKER_CONDITIONER

MODELS = ("stt-1b", "stt-2.6b", "tts-1.6b", "tts-0.75b")
BITS = (None, 8, 4)
CACHES = ("bfloat16", "q8")
# Of a Mac's memory, in GiB, the share that Metal recommends to use at most
# (max_recommended_working_set_size), as logs of llama.cpp on Macs show it. Newer systems give more.
_SHARES = {16: 2 / 3, 32: 2 / 3, 64: 3 / 4, 128: 3 / 4}
# Bytes that MLX keeps of what was freed: the default of `dsm_mlx.limit_memory`.
KEPT_BY_MLX = 256 << 20
# GB/s as Apple publishes them, and chips that have as much in their widest form.
_BANDWIDTHS = {
    68: "M1",
    100: "M2, M3",
    120: "M4",
    150: "M3 Pro",
    200: "M1 Pro, M2 Pro",
    273: "M4 Pro",
    400: "M1 Max, M2 Max, M3 Max",
    546: "M4 Max",
    800: "M1 Ultra, M2 Ultra",
}


@dataclass(frozen=True)
class Needs:
    """Of one model, in bytes.

    model: its weights. row: what a stream holds, by part: "rings", the keys and values of the
    language model; "codec"; "rest". voice: keys and values of a voice, which streams share.
    read: what a step reads beside the rows.
    """

    model: int
    row: dict[str, int]
    voice: int
    read: int

    @property
    def stream(self) -> int:
        return sum(self.row.values())

    def fit(self, usable: int) -> int:
        """How many streams there is memory for, of one voice."""
        free = usable - self.model - self.voice - KEPT_BY_MLX
        return max(0, free // self.stream)

    def by_default(self, usable: int) -> int:
        """How many `load_stt` and `load_tts` allow."""
        return rows_that_fit(self.stream, max(0, usable - self.model))

    def a_frame(self, rows: int) -> int:
        """Bytes that a step of so many streams reads."""
        return self.read + rows * self.stream

    def in_real_time(self, bandwidth: float) -> int:
        """How many streams could keep up if a step took the time of its bytes alone; bandwidth:
        bytes a second."""
        return max(0, int(bandwidth / OFFICIAL.frame_rate - self.read) // self.stream)


def needs(name: str, bits: int | None) -> dict[str, Needs]:
    """Of an official shape, by how keys and values are kept."""
    with counts.as_on_a_gpu():
        lm = counts.language_model(name, bits)
        return {cache: _needs(lm, cache) for cache in CACHES}


def _needs(lm: MultistreamLM, cache: str) -> Needs:
    lm.cache = cache
    if lm.config.depth is None:
        step, state = counts.listener(lm)
        mimi, keys_values, codec = step.mimi, [], state["codec"]
        read = stt.bytes_per_step(step, state, 0)
    else:
        step, state, keys_values = counts.speaker(lm)
        # What clones a voice from sound encodes it.
        clones = SPEAKER_CONDITIONER not in lm.config.conditioners.by_name
        mimi = counts.codec(lm.config.dep_q, encoder=clones, decoder=True)
        codec = state["decoder"]
        read = tts.bytes_per_step(step, state, keys_values, 0)
    row = {"rings": models.state_size(state["lm"]["rings"]), "codec": models.state_size(codec)}
    row["rest"] = models.state_size(state) - sum(row.values())
    weights = models.size(lm) + models.size(mimi)
    return Needs(weights, row, models.state_size(keys_values), read)


def figures(name: str, bits: int | None) -> dict:
    """What `needs` says, in MB."""
    found = needs(name, bits)
    one = found[CACHES[0]]
    known: dict = {"weights": one.model / 1e6}
    if one.voice:
        known["keys and values of a voice"] = one.voice / 1e6
    for cache, each in found.items():
        parts = {part: size / 1e6 for part, size in each.row.items()}
        known[f"a stream, cache {cache}"] = {"in all": each.stream / 1e6} | parts
    return known


def usable(gibibytes: int) -> int:
    """Bytes of a Mac's memory that its GPU should use at most."""
    return int(_SHARES[gibibytes] * (gibibytes << 30))


def tables() -> list[str]:
    """The Markdown tables: of parts, of what fits, of what could be in real time."""
    found = {
        (name, bits, cache): each
        for name in MODELS
        for bits in BITS
        for cache, each in needs(name, bits).items()
    }
    return [_parts(found), _fitting(found), _keeping_up(found)]


Found = dict[tuple[str, int | None, str], Needs]


def _parts(found: Found) -> str:
    head = ["model", *(f"weights, {_precision(bits)}" for bits in BITS)]
    head += ["a voice", "cache", "a stream", "of which rings", "codec", "rest"]
    rows = []
    for name in MODELS:
        for cache in CACHES:
            each = [found[name, bits, cache] for bits in BITS]
            one = each[0]
            if any((other.row, other.voice) != (one.row, one.voice) for other in each):
                raise ValueError(f"{name}: a stream depends on the weights' width")
            # What does not depend on the cache is said once.
            weights = [name, *(_mb(needs.model) for needs in each), _mb(one.voice)]
            said = weights if cache == CACHES[0] else [""] * len(weights)
            rows.append([*said, cache, _mb(one.stream), *map(_mb, one.row.values())])
    return markdown(head, rows)


def _fitting(found: Found) -> str:
    head = ["model", "weights", "cache", *(f"{size} GB" for size in _SHARES)]
    return markdown(
        head,
        (
            [*named, *(f"{each.fit(n)} ({each.by_default(n)})" for n in map(usable, _SHARES))]
            for named, each in _named(found)
        ),
    )


def _keeping_up(found: Found) -> str:
    head = ["model", "weights", "cache", "MB a frame: 1", "8", "16"]
    head += [f"{speed} ({chips})" for speed, chips in _BANDWIDTHS.items()]
    return markdown(
        head,
        (
            [
                *named,
                *(_mb(each.a_frame(rows)) for rows in (1, 8, 16)),
                *(str(each.in_real_time(1e9 * speed)) for speed in _BANDWIDTHS),
            ]
            for named, each in _named(found)
        ),
    )


def _named(found: Found) -> Iterator[tuple[list[str], Needs]]:
    for (name, bits, cache), each in found.items():
        yield [name, _precision(bits), cache], each


def _precision(bits: int | None) -> str:
    return f"{bits} bits" if bits else "bfloat16"


def _mb(size: int) -> str:
    return "" if not size else f"{size / 1e6:.0f}" if size >= 1e6 else f"{size / 1e6:.2f}"


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [list(head), ["---"] * len(head), *map(list, rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
