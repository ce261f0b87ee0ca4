#!/usr/bin/env python3
"""device_peers_compiled.py THREADS - device_peers.py with every step compiled (torch.compile)."""
import device_peers

device_peers.main(compiled=True)
