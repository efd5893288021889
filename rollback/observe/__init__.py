"""Read-only questions about the world: metrics answer with a number, checks with a finding.

Hides: how each kind looks.
Never: changes anything, decides anything.
"""
