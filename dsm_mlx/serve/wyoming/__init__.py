"""The protocol of Wyoming, which Home Assistant speaks: events as lines of JSON, over TCP."""
