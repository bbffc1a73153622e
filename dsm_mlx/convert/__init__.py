"""A checkpoint -> another one: layouts, dtypes, quantisation, voices."""
