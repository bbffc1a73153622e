"""A local server that existing clients use unchanged. It knows sockets and protocols, no arrays."""
