"""Forms that others read, one a file: runs in, file names and texts out; nothing here writes to a disk."""
