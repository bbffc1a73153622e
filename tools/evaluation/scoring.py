"""Words that are wrong, as papers count them: by jiwer, after Whisper's normaliser."""

from __future__ import annotations

from dataclasses import dataclass, fields

ENGLISH = "en"


@dataclass(frozen=True)
class Counts:
    """Words said that were heard, taken for another one or left out, and words that nobody said."""

    hits: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def words(self) -> int:
        """That were said."""
        return self.hits + self.substitutions + self.deletions

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def wer(self) -> float | None:
        """Errors by words said; None where nothing was said."""
        return self.errors / self.words if self.words else None


class Scorer:
    """Compares texts in a language (two letters): English ones by Whisper's English normaliser,
    which also makes figures of numbers and knows British spellings, others by its basic one.

    ValueError where the packages are missing.
    """

    def __init__(self, language: str = ENGLISH):
        try:
            import jiwer
            from whisper_normalizer.basic import BasicTextNormalizer
            from whisper_normalizer.english import EnglishTextNormalizer
        except ImportError as error:
            raise ValueError(
                "words are counted with jiwer and whisper-normalizer "
                f"(pip install 'dsm-mlx[evaluate]'): {error}"
            ) from None
        english = language == ENGLISH
        self.name = f"Whisper's {'English' if english else 'basic'} normaliser"
        self._normaliser = EnglishTextNormalizer() if english else BasicTextNormalizer()
        self._process = jiwer.process_words

    def normal(self, text: str) -> str:
        """The words of a text as they are compared, a space between each two."""
        return " ".join(self._normaliser(text).split())

    def counts(self, said: str, heard: str) -> Counts:
        """Of one recording."""
        found = self._process(self.normal(said), self.normal(heard))
        return Counts(found.hits, found.substitutions, found.deletions, found.insertions)
