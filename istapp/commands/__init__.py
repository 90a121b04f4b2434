"""The subcommands of the command line: their arguments, and what each does."""
