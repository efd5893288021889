"""What is kept and put back: the journal, checkpoints and their store, restores, git trees.

Hides: formats on disk.
Never: decides; asks people; knows levels.
"""
