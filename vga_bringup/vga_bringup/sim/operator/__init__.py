"""The scripted operator: demonstrates the tasks by moving a leader arm, as a person would."""
