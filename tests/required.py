"""What a test needs of the machine that not every machine has."""

import os

import pytest


def missing(what, reason):
    """Skips the test; where DSM_MLX_REQUIRE_`what` is 1, as in CI, it fails instead."""
    if os.environ.get(f"DSM_MLX_REQUIRE_{what}") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
