"""Small tools that every room uses: names, ranges of options, devices."""
