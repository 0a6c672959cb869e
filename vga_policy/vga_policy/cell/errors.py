"""What is raised for a cell file that cannot be used."""


class CellError(ValueError):
    """A cell file that cannot be used. The message names file, key and allowed values."""
