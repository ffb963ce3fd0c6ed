"""What one would write instead, as programs of their own."""
