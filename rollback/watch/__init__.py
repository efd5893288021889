"""The agent: looks again and again, decides, and begins what it may; what reaches it from outside.

Hides: how often is looked, and how equal looks are written down.
Never: goes back by itself where a person has to say so.
"""
