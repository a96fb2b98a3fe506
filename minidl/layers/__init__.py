"""Layers: the contract, the layers themselves, and the containers that chain them."""
