"""Pictures of the simulated cell, and the librealsense devices that deliver them."""
