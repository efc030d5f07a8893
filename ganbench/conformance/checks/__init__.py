"""The checks themselves, one file for each kind of plugin or of property.

A new check belongs here; how checks are found and run belongs in the package above.
"""
