"""Recording sessions: one demonstration after another, from the arm's way home to the label."""
