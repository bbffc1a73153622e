"""OpenAI's audio endpoints, for clients that know no others."""
