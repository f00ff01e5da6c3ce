"""The operating system, event loops and threads."""
