"""What stands on the simulated table: objects, tasks and the views of it."""
