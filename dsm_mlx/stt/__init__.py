"""Speech to text: frames of sound -> words, pauses and ends of turns."""
