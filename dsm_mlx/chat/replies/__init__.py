"""What answers a conversation: an echo, a server, or a language model on this machine."""
