"""Built-in extractors: none of them needs a download."""
