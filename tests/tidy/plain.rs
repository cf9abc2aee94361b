//! Names and words that the source does not use, and the plain ones.

use crate::words::{Denied, Exception};

/// Type names that several modules may declare, each for itself.
pub(crate) const SHARED_TYPE_NAMES: [&str; 4] = ["Error", "Builder", "Settings", "Inner"];

/// Denied in comments, literals and documents.
pub(crate) const DENIED_WORDS: [Denied; 21] = [
    (
        &["whoever", "whomever", "whosoever"],
        "name the subject: a caller, a client",
    ),
    (
        &["somebody", "nobody"],
        "name the subject: a client, no caller",
    ),
    (&["anew"], "again"),
    (&["told", "tells"], "reported, returned, emitted, stored"),
    (&["as it stands"], "unchanged"),
    (&["comes along", "come along"], "is included"),
    (&["hears", "heard"], "receives, was notified"),
    (&["mend", "mends", "mended", "mending"], "fix"),
    (&["fare", "fares", "fared"], "succeed, fail"),
    (&["convoy", "convoys"], "batch"),
    (&["departure", "departures"], "flush"),
    (
        &["bury", "buries", "buried", "burying"],
        "write a tombstone, destroy",
    ),
    (
        &["strike", "strikes", "striking", "stricken"],
        "untag, remove",
    ),
    (&["vault", "vaults"], "encryption"),
    (&["nudge", "nudges", "nudged", "nudging"], "wake up"),
    (&["patience", "patient", "tired"], "timeout"),
    (&["keeper", "keepers"], "maintenance"),
    (&["misfit", "misfits"], "field error"),
    (&["wishes"], "requests"),
    (&["forgive", "forgives", "forgiven"], "clear"),
    (
        &["tombs", "soil", "soils", "soiled"],
        "tombstone, mark dirty",
    ),
];

/// The files in which a denied word is the right one.
pub(crate) const WORD_EXCEPTIONS: [Exception; 0] = [];

/// Denied as a part of the name of a file, a type or a function.
pub(crate) const DENIED_NAME_PARTS: [&str; 29] = [
    "anew",
    "buried",
    "bury",
    "burying",
    "convoy",
    "depart",
    "departure",
    "departures",
    "excused",
    "forgive",
    "hear",
    "heard",
    "keeper",
    "mend",
    "misfit",
    "nobody",
    "nudge",
    "patience",
    "patient",
    "said",
    "say",
    "soil",
    "somebody",
    "strike",
    "tell",
    "told",
    "vault",
    "whoever",
    "wishes",
];

/// Denied as the whole name of a file, a type or a function.
pub(crate) const DENIED_NAMES: [&str; 39] = [
    "after", "ahead", "alone", "around", "asked", "before", "behind", "below", "but", "by",
    "cached", "checked", "claimed", "found", "gone", "held", "here", "known", "later", "leaving",
    "moving", "named", "of", "opened", "over", "place", "retired", "seen", "settled", "shown",
    "standing", "stands", "taken", "there", "thing", "tired", "waiting", "what", "with",
];
