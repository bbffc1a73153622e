"""What the compiled steps become on Metal, from their graphs and MLX's source, without a Mac."""
