"""The multistream language model: a frame of tokens in, text token and audio codes out."""
