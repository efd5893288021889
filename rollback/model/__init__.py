"""The nouns of a rollback, the errors, the registry of kinds, and the life of a run.

Hides: nothing; these are values that every other room speaks in.
Never: touches the world, the clock, or a file.
"""
