"""What a plugin states (paper, methods, metrics, claims), the hooks it implements, and how it is found.

May import: `errors`, `moved`.
"""
