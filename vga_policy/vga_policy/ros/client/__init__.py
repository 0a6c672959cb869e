"""The robot as seen from outside: what commands and other programs ask of the running graph."""
