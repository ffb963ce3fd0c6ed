"""One file a verb of the command line; what it prints is made in the rooms below.

May import: every other room.
"""
