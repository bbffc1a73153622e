"""The figures of several models as a table and as JSON."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version

import mlx.core as mx
import numpy as np

import dsm_mlx


def percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}%"


def small(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


COLUMNS = {
    "model": lambda row: row["model"],
    "MB": lambda row: f"{row['bytes'] / 1e6:.1f}",
    "text tokens": lambda row: percent(row["text_agreement"]),
    "text KL": lambda row: small(row["text_kl"]),
    "codes": lambda row: percent(row["code_agreement"]),
    "codes KL": lambda row: small(np.mean(row["codebook_kl"]) if "codebook_kl" in row else None),
    "WER": lambda row: percent(row["wer"]),
    "peak MB": lambda row: f"{row['peak_bytes'] / 1e6:.0f}",
    "ms/frame": lambda row: f"{row['ms_per_frame']:.1f}",
}
PACES = {
    "pace": lambda row: f"{row['pace']:g}",
    "words a second": lambda row: (
        "-" if (rate := row["words_per_second"]) is None else f"{rate:.2f}"
    ),
    "words wrong": lambda row: percent(row["wer"]),
}


def table(rows: list[dict], columns: dict = COLUMNS) -> str:
    """Markdown, padded to be read as it is."""
    cells = [list(columns)] + [[show(row) for show in columns.values()] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    cells.insert(1, ["-" * width for width in widths])
    lines = (
        " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in cells
    )
    return "\n".join(f"| {line} |" for line in lines)


def as_json(rows: list[dict] | dict, data: str, what: str = "models") -> str:
    """All figures, with what they were measured on. what: there is a row for each of, or a list of
    rows by name."""
    device = mx.default_device()
    where = {
        "device": f"{device.type.name}, {platform.machine()}",
        "system": platform.system(),
        "dsm_mlx": dsm_mlx.__version__,
        "mlx": version("mlx"),
    }
    return json.dumps({"data": data, "measured on": where, what: rows}, indent=1)
