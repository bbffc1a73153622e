"""The errors that callers may see. Each message names the file or value and what was expected."""


class CheckpointError(Exception):
    """A model, voice, config or tokenizer that cannot be found or does not fit."""


class AudioError(Exception):
    """Sound that cannot be read, played or recorded."""


class BusyError(Exception):
    """No free row for another stream, or too much waiting in this one; later there may be room."""


class ReplyError(Exception):
    """A reply of a language model that cannot be had, or that broke off."""
