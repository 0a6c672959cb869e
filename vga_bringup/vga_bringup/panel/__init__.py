"""`vga panel`: one page from which a person sees and runs the robot, in a process of its own.

`model`, `cards` and `access` know neither ROS nor NiceGUI; `robot` sees the graph, `page` and `server` are the page.
"""
