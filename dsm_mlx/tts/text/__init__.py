"""What is said for what is written: numbers, signs, Markdown, addresses, pauses, a lexicon.

Plain Python on strings. `reader.WrittenReader` is a `ScriptReader` with all of it; `scanner` cuts
text into words and knows Markdown, `phrases` decides what is said for them, in the words of
`english` or `french`.
"""
