"""A leader without hardware: Dynamixel servos behind a pseudo-terminal, and the person who moves them."""
