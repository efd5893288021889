"""The release."""

VERSION = "1.0.0"
