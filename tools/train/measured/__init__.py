"""What the small models reach, figure by figure. Needs no PyTorch."""
