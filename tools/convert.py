#!/usr/bin/env python
"""The same as `dsm-convert`, from a checkout."""

import sys

from dsm_mlx.cli.convert import main

if __name__ == "__main__":
    sys.exit(main())
