"""Tables that compare policies, as text, picture and files."""
