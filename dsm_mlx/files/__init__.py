"""What lies on disk: names, JSON, headers; nothing here knows a model."""
