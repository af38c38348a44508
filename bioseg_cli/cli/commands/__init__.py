"""One module a subcommand: options, one call, what is printed."""
