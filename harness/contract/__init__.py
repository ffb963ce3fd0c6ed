"""What `harness check` checks of a plugin, and the same as a pytest fixture.

May import: `sweeps` and what stands below it.
"""
