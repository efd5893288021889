"""What is left to do and to know when a run has ended: failures that are remembered.

Hides: how a memory is kept, and when a repetition becomes work of its own.
Never: drives a run.
"""
