"""Who computes and when: the thread that owns arrays; it knows no model."""
