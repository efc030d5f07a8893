"""The results folder: what a trial is and what identifies it, the shape of its record, and where its files stand.

Reading and writing records belongs here; what they mean belongs in ``analysis``. No torch.
"""
