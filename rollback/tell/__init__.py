"""Telling people: messages and documents, both made from the journal and from nothing else.

Hides: how a message leaves, how a document is laid out.
Never: delays or changes the outcome of a run.
"""
