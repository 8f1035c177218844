"""A run from inside: the loop, its jobs, its finish, what is the same for all trials."""
