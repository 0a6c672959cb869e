"""Which episodes to train on: quality figures of each, a proposal with its reasons, and a person's decisions."""
