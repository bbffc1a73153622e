"""The descriptors 0, 1 and 2, which belong to the standard streams."""

from __future__ import annotations

import os


def fill_standard() -> None:
    """Where standard streams are closed, let the null device have their descriptors.

    Otherwise the next files to be opened get them. MLX takes the descriptor 0 for an error, and
    what is written to a stream that is not there would end up in a file. To be called before
    anything is opened; a second call does nothing.
    """
    # The system gives the lowest descriptor that is free.
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)  # as programs that we start expect it
    os.close(descriptor)
