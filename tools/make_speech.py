"""Speech to measure with: the sentences of sentences.txt, spoken by espeak-ng.

    python tools/make_speech.py OUT [--count N]

writes OUT/NN.wav with its text in OUT/NN.txt, in a fixed order of voices, so that everybody
measures on the same sound. Needs the program espeak-ng. The voices are among those that the
bundled model `tiny` was trained on; it was not trained on these sentences.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

SENTENCES = Path(__file__).parent / "sentences.txt"
VOICES = (
    *("en-us+m3", "en-us+f2", "en-gb-x-rp+m1", "en-us+klatt2", "en-us", "en-gb-scotland+f1"),
    *("en-us+Michael", "en-us+f4", "en-us-nyc+m5", "en-us+Annie", "en-gb+m2", "en-us+linda"),
)
RATES = (165, 150, 180, 140, 170)  # words a minute


def speak(text: str, path: Path, voice: str, rate: int) -> None:
    """Write `text` as a WAV file. SystemExit if espeak-ng is missing or fails."""
    command = ["espeak-ng", "-v", voice, "-s", str(rate), "-w", str(path), text]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        sys.exit("error: espeak-ng is not installed (apt or brew install espeak-ng)")
    except subprocess.CalledProcessError as error:
        sys.exit(f"error: espeak-ng: {error.stderr.decode(errors='replace').strip()}")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, help="only the first COUNT sentences")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    for i, text in enumerate(SENTENCES.read_text().splitlines()[: args.count]):
        path = args.out / f"{i:02}.wav"
        speak(text, path, VOICES[i % len(VOICES)], RATES[i % len(RATES)])
        path.with_suffix(".txt").write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
