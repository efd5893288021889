"""Is the managed system well, right now? Four suites, each over the checks that its system declares.

    pytest verification -m smoke --system rollback.yaml

Hides: nothing; what is asked stands in the declaration.
Never: names a system, changes one, or skips.
"""
