"""Work: what a lane's encoder actor does with one unit, and what its decoder opens for it.

SegmentJob ─► sources (decoder) ··· chunks ─► sessions ─┬─ whole ─► outputs ─► files, report
                                                        ├─ surveying ─► survey: key frames, cast
                                                        ├─ spanning, bridging ─► piecework ─► parts, records
                                                        └─ joining ─► files, report
session < streaming < composing < whole, spanning, bridging: each adds one thing; pictures, segments, pipe encode.

No Ray and no threads but the pipe's; nothing here knows other units, lanes or the job.
"""
