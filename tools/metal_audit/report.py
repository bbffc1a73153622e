"""The audit's tables, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable

from metal_audit.audit import Audit

_ELEMENT_WISE = "element-wise, fused if it has company"
_MOST_SLICES = 32  # that a depth decoder attends to


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    lines = [list(head), *rows]
    text = ["| " + " | ".join(map(str, line)) + " |" for line in lines]
    text.insert(1, "|" + "---|" * len(lines[0]))
    return "\n".join(text)


def summary(audits: dict[str, Audit], names: set[str] | None) -> str:
    """One line a shape. names: of the metallib's kernels, or None if there is none to look at."""
    head = (
        "shape", "primitives", "kernels looked for", "missing", "compiled when first met: fused",
        "others", "cannot run",
    )  # fmt: skip
    rows = (
        (
            shape,
            len({name for name, _, _ in audit.becomes}),
            len(audit.kernels),
            "not checked" if names is None else len(audit.missing(names)),
            f"{len(audit.fused)} or more",
            len(audit.sources),
            len(audit.problems),
        )
        for shape, audit in audits.items()
    )
    return table(head, rows)


def beside(audits: dict[str, Audit]) -> str:
    """Kernels that `tools/bench.py --count` does not count, a column a model."""
    firsts: dict[str, Audit] = {}
    for shape, audit in audits.items():
        firsts.setdefault(shape.partition(" ")[0], audit)
    what = sorted({name for audit in firsts.values() for name in audit.beside})
    rows = ((name, *(audit.beside[name] for audit in firsts.values())) for name in what)
    return table(("kernels beside those counted", *firsts), rows)


def attention(audits: dict[str, Audit]) -> str:
    """Every attention, and which way it takes; a line for all lengths of a depth decoder's."""
    lengths: dict[tuple, set[int]] = {}
    places: dict[tuple, dict[str, None]] = {}
    for shape, audit in audits.items():
        for heads, width, queries, keys, mask, kind, becomes in audit.attention:
            slices = keys <= _MOST_SLICES
            at = (f"{heads} x {width}", queries, mask, kind, becomes, 0 if slices else keys)
            lengths.setdefault(at, set()).add(keys)
            places.setdefault(at, {})[shape.partition(" ")[0]] = None
    head = ("heads", "queries", "keys", "mask", "type of keys", "becomes", "where")
    rows = (
        (at[0], at[1], _span(lengths[at]), *at[2:5], ", ".join(places[at]))
        for at in sorted(lengths)
    )
    return table(head, rows)


def _span(numbers: set[int]) -> str:
    first, last = min(numbers), max(numbers)
    return str(first) if first == last else f"{first} to {last}"


def primitives(audits: dict[str, Audit]) -> str:
    """What each primitive becomes, over all shapes; one line for all that is element-wise."""
    alone: dict[tuple[str, str], dict[str, None]] = {}
    fused = set()
    for audit in audits.values():
        for name, types, becomes in sorted(audit.becomes):
            if becomes == _ELEMENT_WISE:
                fused.add(name)
            else:
                alone.setdefault((name, becomes), {})[types] = None
    rows = [(*at, "; ".join(sorted(types))) for at, types in sorted(alone.items())]
    everything = (", ".join(sorted(fused)), _ELEMENT_WISE, "as they come")
    return table(("primitive", "becomes", "types"), [*rows, everything])


def findings(audits: dict[str, Audit], names: set[str] | None) -> list[str]:
    """What is wrong, a line each."""
    lines = []
    for shape, audit in audits.items():
        lines += [f"{shape}: {problem}" for problem in sorted(audit.problems)]
        for kernel in sorted(audit.missing(names)) if names is not None else ():
            lines.append(
                f"{shape}: no kernel {kernel} ({', '.join(sorted(audit.kernels[kernel]))})"
            )
    return lines
