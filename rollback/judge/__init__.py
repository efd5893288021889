"""Judgement: samples to a decision, approvals to an authorisation, circumstances to a refusal.

Hides: the rules.
Never: looks at the world or changes it: values in, values out.
"""
