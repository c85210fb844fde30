"""Train on a user's own items: features or images and labels go in; a network, predictions and a report come out."""
