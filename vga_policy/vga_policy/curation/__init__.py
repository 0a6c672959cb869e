"""Which episodes to train on: quality metrics of each, a proposal with its reasons, and a person's decisions."""
