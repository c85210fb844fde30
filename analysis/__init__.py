"""What the numbers say: tables, figures and statistics from a results folder.  Imports neither ray nor torch."""
