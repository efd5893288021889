"""The gate: suites run as children, a verdict that cannot be an accident, seals to compare with.

Hides: pytest, and everything that can go wrong between "exit status 0" and "it is well".
Never: changes the managed system; believes an exit status alone.
"""
