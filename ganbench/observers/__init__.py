"""Observers that ship with ganbench: ``--observe`` names them."""
