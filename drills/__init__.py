"""What if? A copy of a system is broken on purpose, and how long recovery takes is measured."""
