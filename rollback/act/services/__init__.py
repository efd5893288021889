"""Kinds of services: a file each.

Hides: how each does its work.
Never: knows of its siblings.
"""
