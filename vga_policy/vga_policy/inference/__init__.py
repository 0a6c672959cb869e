"""A trained policy at work: from observation to action chunk, in one thread or beside a node."""
