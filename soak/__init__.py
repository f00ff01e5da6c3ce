"""Hours in minutes: clients that come, talk and die for as long as one likes. See ``make soak``."""
