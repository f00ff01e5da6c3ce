"""Several processes as one server: nodes, their roster, batches of messages, and links."""
