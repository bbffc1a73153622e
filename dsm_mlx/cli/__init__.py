"""The commands: arguments, progress bars, exit status; no arrays."""
