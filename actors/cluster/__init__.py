"""Cluster: what the nodes have, what of it is free, and where lanes could run.

nodes (asks Ray) ─► snapshot ─► candidates ─► slots, memory ─► (placement) lane plans
                        └─► changes: lanes to start, to drain, lost           witness: which nodes see the folders

Pure but for nodes and witness, which ask Ray; nothing here starts a lane or knows a video.
"""
