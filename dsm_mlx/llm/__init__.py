"""A language model of mlx-lm's that takes turns with all else on the device."""
