"""The kinds of metric sources, one file each; each reads one number, or says why there is none."""
