"""The protocol of Kyutai's moshi-server: websockets with msgpack, and requests with JSON."""
