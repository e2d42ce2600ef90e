"""The Ray layer: thin shells over plain classes, one placement-group bundle a lane.

    JobActor ──SegmentJob──► DecoderActor ──FrameChunk──► InferenceActor ──ExaminedChunk──► EncoderActor ──► files
    (queue; lanes pull)          ▲  ▲                          ▲                              │  │
          │ polls every lane     │  └──────── Credit ──────────┼──────────────────────────────┘  │
          └─ status, deaths      └ release, abort              └──────── Request / Reply ────────┘

Every actor's logic is a plain class beside it (``DecodeService``, ``InferenceService``, ``EncodeService``,
``JobRunner``) that knows no Ray and is wired in one process by the tests. Actor methods only hand over and return at
once, so calls keep their order and a ping is always answered. Nothing here may know pixels, codecs or models.

    decoder ─► decoding      inference ─► inferring ─► examiner      encoder ─► encoding ─► work      (shell ─► class)

``work`` does one unit inside a lane, ``cluster`` finds where lanes fit, ``backlog`` holds what a job has still to do;
``job``, ``fleet`` and ``lane`` bring the three together. ``bundle`` starts, wires and ends a lane's actors, ``gate``
keeps work from nodes that do not see the job's folders, ``folders`` clears away what lies there beside results.
"""
