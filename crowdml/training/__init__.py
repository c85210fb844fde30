"""Train a network on a user's own features or images and their labels; write the network, predictions and a report."""
