"""What cells take, in seconds, memory and money, and what a trial gets of a machine."""
