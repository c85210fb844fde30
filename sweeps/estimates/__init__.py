"""Estimates of the seconds, memory and money that cells need, and the resources that a trial gets."""
