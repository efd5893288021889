"""Doing it: the plan of a level, the engine that carries it out, and the kinds of step.

Hides: how intent, effect and claim are ordered so that a kill at any instant is survived.
Never: decides whether to go back, or judges whether it worked.
"""
