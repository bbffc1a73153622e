"""How the words of a text are read: as they stand, or with rules, a lexicon, or both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dsm_mlx.tts.script import ScriptReader
from dsm_mlx.tts.text.lexicon import Lexicon
from dsm_mlx.tts.text.reader import WrittenReader
from dsm_mlx.tts.text.rules import Rules, WithoutNumbers, rules_of


@dataclass(frozen=True)
class Wording:
    """rules, lexicon: None: none."""

    rules: Rules | None = None
    lexicon: Lexicon | None = None

    @property
    def changes(self) -> bool:
        """Whether anything is said in another way than it stands."""
        return self.rules is not None or self.lexicon is not None

    def over(self, reader: ScriptReader) -> ScriptReader | WrittenReader:
        """The reader itself where nothing changes."""
        return WrittenReader(reader, self.rules, self.lexicon) if self.changes else reader


def wording_of(
    normalize: str | WithoutNumbers | None,
    lexicon: Mapping[str, str] | None,
    languages: Sequence[str],
) -> Wording:
    """From what `TextToSpeech.synthesize` takes; errors as those of `rules_of` and `Lexicon`.

    languages: of the model, the codes.
    """
    rules = rules_of(normalize, languages)
    return Wording(rules, Lexicon(lexicon) if lexicon is not None else None)
