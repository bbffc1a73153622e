"""Speech to train on, made on the spot by synthesizers from a seed."""
