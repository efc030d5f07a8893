"""The first-party variants: one file each, discovered through the same entry points as anybody's."""
