"""Pictures of networks, from plain data: it knows no layers."""
