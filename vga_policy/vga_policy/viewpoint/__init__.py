"""Whether a camera still sees what it saw when the training data was recorded. Neither torch nor rclpy is imported.

A reference is made of several pictures of a view: their median, and which of its pixels stood still. In the view of a
fixed camera that is the room, in that of the wrist camera the hand, which it carries along. A live picture is laid over
the reference: features of the room by a homography, the outline of the hand by a shift.
"""
