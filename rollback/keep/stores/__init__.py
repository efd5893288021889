"""The kinds of places that can hold a store; one file each."""
