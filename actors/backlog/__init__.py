"""Backlog: what a job has still to do, in which order, and what of it is already there.

videos ─► units (course, cost; pieces: what lies on disk) ─► workqueue (schedule, shelf) ─► choice (deal) ─► a lane
status ─► units, schedule (crew, runner, speeds), board (for whoever looks), manifest (for the next driver)

Knows no Ray and never a lane's inside; only rowfile (the manifest's rows) and pieces touch the disk.
"""
