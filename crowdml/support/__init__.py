"""Small tools for the whole project: names, search spaces, whole files, heartbeats, progress, devices."""
