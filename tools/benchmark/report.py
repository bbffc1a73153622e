"""A machine's figures, as one Markdown file to paste into an issue.

Each part runs in a process of its own (see parts.py): so one that fails, is killed by the system or
takes too long ends alone, what it had told until then is kept, and its memory is free for the next.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import outputs

from benchmark.memory import MODELS, markdown

_TOOLS = Path(__file__).parents[1]
_LONGEST = 3  # times its seconds, loading included
_IN_ALL = 15
_LINE = 300  # characters of an error
_VERDICT = "ok"  # as exact.py says it

_FRAMES = [
    "model", "", "streams", "frame ms: median", "p95", "max", "real-time factor",
    "MB read a frame", "share of bandwidth", "peak MB", "frames",
]  # fmt: skip
_BESIDE = [
    "", "live frame ms: median", "p95", "max", "recordings, frames a second",
    "voice: first sound ms", "chunks late", "cores of other programs",
]  # fmt: skip


@dataclass
class Part:
    """Something to find out. work: its name in parts.py.

    rows: cells of the section's table, as far as they are known. problem: why there are no more.
    """

    name: str
    work: str
    rows: list[list[str]] = field(default_factory=list)
    problem: str | None = None


@dataclass
class Section:
    """A table, and what makes it. checks: whether its last column are verdicts."""

    title: str
    about: str
    head: Sequence[str]
    parts: list[Part]
    checks: bool = False


def sections() -> list[Section]:
    """Everything that matters, what matters most first."""
    shapes = [
        Part(f"{name}, {f'{bits} bits' if bits else 'bfloat16'}", f"{name} {bits or 16}")
        for bits in (4, None)
        for name in MODELS
    ]
    return [
        Section("Machine", "", ["", ""], [Part("the machine", "about")]),
        Section(
            "Exactness",
            "On this device. Goldens are what Kyutai's own code (or moshi_mlx) computed on a CPU "
            "from the small checkpoints in `tests/reference`.",
            ["check", "expected", "found", ""],
            [
                Part("goldens of the codec and of speech to text", "goldens"),
                Part("goldens of text to speech", "speech"),
                Part("words of `tiny`", "words of tiny"),
                Part("compiled equals uncompiled, hearing", "compiled hearing"),
                Part("compiled equals uncompiled, speaking", "compiled speaking"),
            ],
            checks=True,
        ),
        Section(
            "`tiny`",
            "Streams that go together, each frame as soon as the one before is done; a frame is "
            "80 ms of sound. The share is of the bandwidth measured by copying.",
            _FRAMES,
            [
                Part("`tiny`, hearing", "tiny hearing"),
                Part("`tiny`, speaking", "tiny speaking"),
            ],
        ),
        Section(
            "From the start of a process",
            "`tiny`, until it is loaded and until the first word or sound is there.",
            ["", "loaded", "there"],
            [
                Part("first word, cold", "cold hearing"),
                Part("first sound, cold", "cold speaking"),
            ],
        ),
        Section(
            "Beside each other",
            "`tiny` in real time; a live frame from when it was due.",
            _BESIDE,
            [Part("live streams, recordings and a voice", "beside")],
        ),
        Section(
            "Official shapes, random weights",
            "Speed only: what such weights say means nothing. Kernels: of one stream, on a GPU.",
            [*_FRAMES, "kernels"],
            shapes,
        ),
    ]


def write(
    path: Path, seconds: float, say: Callable[[str], None], known: list[Section] | None = None
) -> int:
    """Run all parts and write what came out, when all is done or Ctrl-C asks to end.

    seconds: that a part should measure for. One is ended after three times as long, and after
    fifteen times none is begun. Returns how many checks did not hold.
    """
    outputs.check(path, "--report")
    known = sections() if known is None else known
    parts = [part for section in known for part in section.parts]
    begun = time.perf_counter()
    try:
        for number, part in enumerate(parts, 1):
            left = _IN_ALL * seconds - (time.perf_counter() - begun)
            if left <= 0:
                part.problem = "not begun: the time was over"
                continue
            say(f"{number} of {len(parts)}: {part.name}")
            _run(part, seconds, min(left, _LONGEST * seconds))
            if part.problem:
                say(f"  {part.problem}")
    except KeyboardInterrupt:
        for later in parts[number:]:
            later.problem = "not begun: interrupted"
        raise
    finally:
        outputs.save(path, text(known, time.perf_counter() - begun))
        say(f"written: {path}")
    return sum(row[-1] != _VERDICT for row in _checks(known))


def command(work: str, seconds: float) -> list[str]:
    """What starts the process of a part."""
    return [sys.executable, "-m", "benchmark.parts", work, str(seconds)]


def _run(part: Part, seconds: float, limit: float) -> None:
    """Have a process do it, for so many seconds at most."""
    paths = filter(None, (str(_TOOLS), str(_TOOLS.parent), os.environ.get("PYTHONPATH")))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        process = subprocess.Popen(
            command(part.work, seconds),
            env=environment,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
        with process, _reading(process, part):
            try:
                status = process.wait(limit)
            except subprocess.TimeoutExpired:
                part.problem = f"ended after {limit:.0f} s"
                return
            except KeyboardInterrupt:
                part.problem = "ended: interrupted"
                raise
        if status:
            errors.seek(0)
            part.problem = f"failed: {_why(status, errors.read())}"


@contextmanager
def _reading(process: subprocess.Popen, part: Part) -> Iterator[None]:
    """Take what the process tells; when the block ends, so does it, with all that it started."""

    def read() -> None:
        for line in process.stdout:
            with suppress(ValueError, TypeError):  # a library that prints
                told = json.loads(line)
                if "row" in told:
                    part.rows.append(told["row"])
                elif "skipped" in told:
                    part.problem = f"skipped: {told['skipped']}"

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        reader.join()


def _why(status: int, errors: str) -> str:
    """One line; without the name of who runs this."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    said = lines[-1] if lines else f"exit status {status}"
    if status < 0:
        said = f"signal {-status} ({signal.strsignal(-status)}); {said}"
    home = str(Path.home())
    return (said if len(home) < 2 else said.replace(home, "~"))[:_LINE]


def text(known: list[Section], seconds: float) -> str:
    """The whole document."""
    about = dict(row for part in known[0].parts for row in part.rows if len(row) == 2)
    machine = ", ".join(about[key] for key in ("chip", "memory") if key in about)
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    took = f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    blocks = [
        f"# dsm_mlx on {machine or 'a machine that did not say what it is'}",
        f"`tools/bench.py --report`, {when}, {took}.",
        _summary(known),
        *(_section(section) for section in known),
    ]
    return "\n\n".join(blocks) + "\n"


def _summary(known: list[Section]) -> str:
    """What a reader looks for first."""
    checks = _checks(known)
    wrong = [row[0] for row in checks if row[-1] != _VERDICT]
    lines = [f"- Exactness: {len(checks) - len(wrong)} of {len(checks)} checks hold."]
    lines += [f"  - does not hold: {name}" for name in wrong]
    parts = [part for section in known for part in section.parts]
    done = sum(part.problem is None for part in parts)
    lines.append(f"- Done: {done} of {len(parts)} parts.")
    lines += [f"  - {part.name}: {part.problem}" for part in parts if part.problem]
    return "\n".join(lines)


def _checks(known: list[Section]) -> list[list[str]]:
    return [row for part in known if part.checks for each in part.parts for row in each.rows]


def _section(section: Section) -> str:
    rows = [
        [cell.replace("|", "\\|") for cell in row] for part in section.parts for row in part.rows
    ]
    lines = [part for part in section.parts if part.problem]
    blocks = [f"## {section.title}", section.about]
    blocks.append(markdown(section.head, rows) if rows else "")
    blocks.append("\n".join(f"- {part.name}: {part.problem}" for part in lines))
    return "\n\n".join(block for block in blocks if block)
