//! Recommendations in the formats of those who apply them: one file a format.

pub mod compose;
pub mod patch;
