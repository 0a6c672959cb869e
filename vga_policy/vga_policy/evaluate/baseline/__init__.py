"""Policies of other projects, in an interpreter and with packages of their own, as actors in the same trials.

`lerobot_train.py` and `lerobot_serve.py` run there, and import nothing from here but what lies beside them.
"""
