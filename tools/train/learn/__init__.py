"""Training in PyTorch: the codec, speech to text, text to speech."""
