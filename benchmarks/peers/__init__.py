"""What a user would write without bioseg, written plainly, to be measured beside it."""
