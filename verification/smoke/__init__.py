"""Is it up? Every declared smoke check, in seconds, changing nothing."""
