"""The kinds of content that a component can have; one file each."""
