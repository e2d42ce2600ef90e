"""Backlog: what a job has still to do, in which order, and what of it is already there.

videos ─► units (pieces: what lies on disk) ─► workqueue (schedule, shelf) ─► the lane that asks
status ─► units, board (for whoever looks), manifest (for the next driver, should this one die)

Knows no Ray and never a lane's inside; only manifest and pieces touch the disk.
"""
