"""The simulated arm, hand and objects, in their own process."""
