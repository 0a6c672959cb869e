"""The scripted expert: demonstrates the tasks by moving a leader arm, as a person would."""
