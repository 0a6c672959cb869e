"""How good a policy is: closed-loop trials, open-loop replay, geometry, and the tables that compare policies."""
