"""Every tuned number of identity that is not a setting, in one place, with its unit and reason.

Lengths are in face widths or heights, so that nothing depends on the resolution; times are in seconds, so that
nothing depends on the frame rate.
"""

from __future__ import annotations

# --- shots ---
CUT_WAIT_S = 0.2
"""A change is judged after this much future: a flash is over by then."""
CUT_MIN_CHANGE = 0.055
"""Least mean luma change of a cut (0..1)."""
CUT_SAME_STRUCTURE = 0.22
"""Structure distance (1 - correlation of the luma thumbnails) below which two pictures show the same shot."""
CUT_OVER_NEIGHBOURS = 2.5
"""A cut changes the picture this many times more than the calmer of its two sides; a whip pan does not."""
CUT_OVER_BUSY_SIDE = 1.6
"""And this many times more than the busier side: where a pan begins, the candidate is a step like those after it."""
CUT_SAME_CHANGE = 0.03
"""Mean luma change below which two pictures are the same whatever their structure (flat or dark pictures)."""

# --- shots that begin without a cut ---
FADE_HZ = 10.0
"""Pictures compared per second: the shortest dissolve worth noticing lasts about two of them."""
FADE_SPANS = (4, 8, 16)
"""A dissolve is looked for within so many of them: each span finds those from half of it to twice its length."""
FADE_LEVELS = 14.0
"""Least difference (root mean square, levels) of the pictures before and after: as for a cut."""
FADE_CONTRAST = 0.5
"""Both have contrast, neither less than this of the other's: else the picture only grows darker or brighter."""
FADE_SHARE = 0.2
"""In the middle of it a frame lies at least this far from both ends of the way."""
FADE_OFF = 0.15
"""All frames lie no farther from the straight line than this of its length (dissolves: 0.02 to 0.1), ..."""
FADE_DIP = 0.15
"""... and lack the contrast that a mixture lacks, give or take this share. Of 117 recorded scenes without dissolves and
two real clips nothing comes near to both, of 540 made-up pans over soft patterns six do; a dissolve between shots in
which much moves may be missed, then it is for the faces to tell (below)."""
FADE_APART = 0.2
"""1 - correlation of the pictures before and after: below, the shots are alike, as two pictures of one shot are."""
FADE_OVER = 0.35
"""A dissolve is over when pictures change by no more than this of its largest step."""
FADE_AGAIN_S = 0.4
"""While it goes on, all faces are new again after this time, ..."""
FADE_LAST_S = 1.5
"""... and it is over after this time: what goes on moving is the picture itself."""
FLAT_LEVELS = 4.0
"""Standard deviation of the luma thumbnail below which a picture is one colour."""
FLAT_SAME = 0.5
"""Pictures that differ by less than this in it are as flat as each other."""
FLAT_WAIT_S = 0.4
"""What comes after one colour is compared when it has twice that contrast, at the latest after this time."""

# --- faces that change without a cut ---
LOOK_CHANGED = 0.35
"""A face whose descriptor differs by more than this from its track's is perhaps another one: 0.25 at most while one is
followed (29 recorded scenes, 99.5 %; 0.35 when somebody passes), 0.42 and more to others, in the same clothes, too."""
SWAP_WIDTHS = 0.5
"""A face stands in the place of one that was followed until just now within this distance ..."""
SWAP_S = 0.8
"""... and time: two looks on the coarse grid."""
LOOK_ALIKE = 0.3
"""Two such sights that differ by less than this from each other are of one face."""

# --- motion (Kalman filter, damped constant velocity, white acceleration) ---
ACCELERATION_WIDTHS = 6.0
"""Standard deviation of a head's acceleration, face widths per second squared (a quick nod or lean)."""
MEASURE_WIDTHS = 0.06
"""Standard deviation of the detector's centre, face widths."""
START_SPEED_WIDTHS = 4.5
"""Standard deviation of a new track's speed, face widths per second."""
SPEED_DECAY_S = 0.8
"""Velocity fades with this time constant: a hidden person rarely keeps walking for seconds."""
SIZE_RATE = 0.35
"""Random walk of the logarithm of the face height per square root of a second."""
SIZE_MEASURE = 0.06
"""Standard deviation of the detector's log height."""

# --- assignment of faces to tracks (nats) ---
W_MOTION = 0.5
"""Times the squared normalised distance to the prediction."""
MOTION_CAP = 12.0
W_OVERLAP = 2.0
"""Times 1 - IoU with the predicted box."""
W_SIZE = 0.5
"""Times the squared normalised change of log height."""
W_LOOK = 0.5
"""Times the squared normalised descriptor distance."""
LOOK_CAP = 6.0
BLURRED_LOOK_CAP = 2.0
"""The same when another person's clothes may show in the descriptor."""
MISS_COST = 9.0
"""Cost of leaving a track without a face: beyond this a new track is more likely."""
GATE_WIDTHS = 0.9
"""A face may lie this far from the prediction, plus GATE_SPEED times the time since the last sight."""
GATE_SPEED_WIDTHS = 3.0
GATE_MAX_WIDTHS = 3.0
LUNGE_WIDTHS = 1.1
"""A face that looks the same may lie this far, plus LUNGE_SPEED_WIDTHS times the time: somebody lunges ..."""
LUNGE_SPEED_WIDTHS = 8.0
LUNGE_LOOK = 1.0
"""... when the descriptors differ by no more than this, in standard deviations."""
GATE_SIZE = 0.25
"""Largest change of log height between two sights, plus GATE_SIZE_RATE times the seconds between."""
GATE_SIZE_RATE = 1.0
SIZE_CAP = 8.0
AMBIGUOUS_MARGIN = 2.0
"""Two joint assignments closer than this are a crossing, not an answer."""
EMERGING_MARGIN = 6.0
"""The same for a track in an open crossing: the hidden one may be coming out just there."""

# --- crossings ---
OVERLAP_IOU = 0.22
"""Two seen faces that overlap more than this cannot be told apart by motion."""
HIDDEN_WIDTHS = 0.8
"""A face that vanished within this distance of another one went behind it."""
CLEAN_WIDTHS = 1.15
"""A sight is clean (fit for the gallery) when every other face's centre is farther than this."""

INHERIT_S = 0.7
"""A face in a crossing may inherit the speed of a person last seen no longer ago than this, ..."""
INHERIT_WIDTHS = 0.3
"""... when it is within this distance of where that person, and no other, would be."""
HELD_WIDTHS = 0.2
"""While somebody is hidden, the visible face is the same from sight to sight only within this distance, ..."""
HELD_SPEED_WIDTHS = 1.5
"""... plus this times the seconds between, ..."""
HELD_SIZE = 0.12
"""... at a size (log height) no farther off than this."""
HIDDEN_REACH_WIDTHS = 0.45
"""Who is hidden by a face has the centre within this distance of it, or would be seen."""
LOOSE_STRANGER_S = 0.6
"""A stranger's path is followed this far into an overlap to claim a face for the stranger."""
LOOSE_WIDTHS = 0.7
"""A face in an overlap belongs to a path that passes within this distance ..."""
LOOSE_LEAD = 0.3
"""... by this much better than to anybody else's: else nobody is said to have been seen, ..."""
LOOSE_NOWHERE = 2.0
"""... where somebody not at a face at all counts as fitting this badly, ..."""
LOOSE_GAP_S = 0.35
"""... judged together for a face followed without a gap longer than this, ..."""
LOOSE_SIZE = 0.3
"""... at a size (log height) no farther off than this."""

CLEAR_WIDTHS = 1.9
"""A descriptor is clear when every other face's centre is farther than this: it sees upper bodies, which are wider."""

# --- persons ---
INTERPOLATE_S = 0.55
"""Between two sights nearer than this a box counts as detected."""
BEND_WIDTHS = 0.12
"""Between two sights of one track farther apart than this (x and y together) the path is a cubic, not a line."""
EDGE_WIDTHS = 0.12
"""A box this near the frame's edge touches it: who vanishes there has left."""
LEFT_S = 0.2
"""How long the box of somebody who left over the edge is still predicted."""
SCORE_DECAY_S = 0.7
"""Confidence of a predicted box fades with this time constant."""
HIDDEN_MOVE_WIDTHS = 1.0
"""Who was hidden went the way from the last sight to the next one when they are this near, ..."""
HIDDEN_SPEED = 10.0
"""... plus this times the seconds between: nobody walks or lunges faster."""
MIN_HITS = 2
"""A new track needs so many sights before it can be somebody (fewer only when the look-ahead runs out)."""
MOTION_EVIDENCE_CAP = 1.5
"""Most that a position can say about identity after a re-entry, in nats ..."""
CROSSING_MOTION_CAP = 0.5
"""... and after the two have met: who meets somebody may walk on or turn back."""
SIDE_EVIDENCE = 0.5
"""Re-entry on the side where the person left, in nats."""
DESCRIPTOR_EVIDENCE_CAP = 4.5
BLURRED_EVIDENCE_CAP = 1.5
"""The same while the track has only been seen beside somebody."""
CUT_DESCRIPTOR_SCALE = 1.6
"""Across a cut light and angle change: descriptors say less."""
CROSS_DESCRIPTOR_SCALE = 1.3
EMBED_EVIDENCE_CAP = 9.0
PRESENCE_EVIDENCE = 3.0
"""In a video of two people a new face is the missing one, unless appearance objects, in nats ..."""
PRESENCE_STRANGERS = 0.5
"""... but less so once strangers were seen, before both have been met, or with more faces than missing people."""
ORDER_EVIDENCE = 0.5
"""Cameras rarely change to the other side of two who talk: in a new shot both keep their sides, in nats. Enough to
choose between two who look the same, too little to be sure of it."""
PROBE_ROUNDS = 4
"""Questions about one track at most."""
PROBE_EVERY_S = 0.6
"""Time between two questions about one track."""
RECHECK_S = 2.0
"""A face taken for a bystander is looked at again after this while somebody is missing."""
RECHECKS = 3
MAX_DOUBT_S = 4.0
"""After this the best guess counts as decided."""
PLACE_DWELL_S = 1.0
"""A face must stay this long before it takes a place that nobody had (longer than somebody passing through)."""
STATIC_WIDTHS = 0.02
"""A face whose centre stays within this many widths of its first place is a picture."""
STATIC_S = 1.5
STATIC_PENALTY = 0.15
"""Weight of a motionless face in the choice of the principal pair."""

# --- gallery ---
GALLERY_SIZE = 6
GALLERY_REFRESH_S = 20.0
"""Seconds between two enrolments of one person."""
ENROL_AGE_S = 0.2
"""Enrolment prefers sights at least this old: from before whatever made it necessary."""
ENROL_FACES = 2
"""Faces embedded per enrolment."""
PROBE_FACES = 1
"""Faces embedded per question about a track."""
# --- casting (who A and B are, from a few frames of a video) ---
CAST_FACES = 3
"""Faces of one frame that are embedded at most."""
CAST_EMBEDS = 120
"""Faces embedded at most; half of the frames are left out while there are more."""
CAST_SIGHTS = 3
"""Somebody seen in fewer frames may be passing through."""
CAST_RIVAL = 0.6
"""A third person who matters more than this, over the second, may be the one of the two."""
CAST_DOUBTFUL = 0.1
"""Share of faces that may be in doubt: poses and blur that nobody could tell."""
CAST_FIRST_S = 6.0
"""Unless somebody is there from the start, the look before the first sight is at most this long before it."""
CAST_OUTLIER = 1.6
"""Faces farther from the most typical one than this, over the median distance, stay out of a gallery."""

STRANGERS = 6
"""Strangers remembered by their faces; the one seen for the shortest time makes room."""
MIN_EMBED_HEIGHT_PX = 24.0
MIN_EMBED_SCORE = 0.55

# --- where to look again ---
NEAR_WIDTHS = 1.25
"""Faces nearer than this are watched closely."""
NEAR_SPACING_S = 0.11
CHANGE_SPACING_S = 0.11
SEARCH_S = 0.8
"""Somebody who was lost is looked for closely for this long."""
FAST_WIDTHS = 0.75
"""Motion between two sights above this, in face widths, is watched closely."""
SURPRISE_WIDTHS = 0.4
"""So is a prediction that missed by more than this."""
STEADY_SHARE = 1.1
"""Coarse looks are this many times the budget's own spacing apart: they can go on for ever."""
RESERVE = 3
"""Finer looks are only taken while so many detections have been saved up."""
FAST_SPACING_S = 0.06
"""Finest spacing of questions."""
