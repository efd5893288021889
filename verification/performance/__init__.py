"""Is it as fast as before? Load runs in a child process of the check, never in this one."""
