"""Do the parts work together? Every declared integration check."""
