"""Array operations of the network's layers."""
