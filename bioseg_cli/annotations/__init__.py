"""Shapes that people drew in annotation programs: the files that hold them, and the class codes of their pixels."""
