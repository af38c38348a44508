"""Single objects of class masks: how they are told apart, measured, outlined and written."""
