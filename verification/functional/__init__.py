"""Does each part do its work? Every declared functional check."""
