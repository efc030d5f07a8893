"""Finding what is installed: entry points, plugins in files, the catalog, and the hash of a plugin's source.

What a plugin may offer is said in ``plugin``; what is done with it in ``harness``, ``reporters`` and ``executors``.
"""
