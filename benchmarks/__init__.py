"""What the harness costs and saves, side by side with what one would use instead: `make bench`."""
