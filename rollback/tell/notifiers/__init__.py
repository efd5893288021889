"""Ways for a message to leave: a file each.

Hides: how each delivers.
Never: raises.
"""
