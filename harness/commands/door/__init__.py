"""How the command line begins and ends: what programs read of it, and the signals that end it."""
