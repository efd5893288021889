"""The kinds of checks, one file each; each answers one read-only question with a finding."""
