//! Why a value is not a token that can be read. No variant holds a piece of the value.

use crate::json::JsonFault;
use std::fmt;

/// What is wrong with one value. The facts are counts and places, never content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// Nothing but white space.
    Empty,
    /// Longer than [`MAX_TOKEN_BYTES`](super::MAX_TOKEN_BYTES).
    TooLarge {
        /// The length found, in bytes.
        bytes: usize,
    },
    /// Not UTF-8, which every compact serialization is.
    NotUtf8,
    /// Neither the three segments of a JWS (RFC 7515, section 7.1) nor the five of a JWE (RFC 7516, section 7.1).
    SegmentCount {
        /// Segments found; a text without a dot has one.
        found: usize,
    },
    /// The signature holds something else than base64url (or, of a JWE, any segment behind the header).
    NotBase64Url {
        /// Which segment, counted from one.
        segment: usize,
    },
    /// The JOSE header is not base64url of a JSON object.
    Header(SegmentFault),
    /// The JOSE header has no `alg`, or one that is not a text (RFC 7515, section 4.1.1).
    NoAlgorithm,
    /// The claims set is not base64url of a JSON object (RFC 7519, section 7.2).
    Claims(SegmentFault),
}

/// Why a segment is not a JSON object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SegmentFault {
    /// A character outside the base64url alphabet, padding, or bits left over at the end.
    NotBase64Url,
    /// Decoded, but to something else than a JSON object.
    Json(JsonFault),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the value is empty"),
            Self::TooLarge { bytes } => {
                write!(f, "{bytes} bytes are more than the {} that a token may have", super::MAX_TOKEN_BYTES)
            }
            Self::NotUtf8 => f.write_str("the value is binary, not text"),
            Self::SegmentCount { found } => {
                let parts = if *found == 1 { "part" } else { "parts" };
                write!(f, "{found} {parts} separated by dots, where a signed token has 3 and an encrypted one 5")
            }
            Self::NotBase64Url { segment } => write!(f, "part {segment} is not base64url without padding"),
            Self::Header(fault) => write!(f, "the JOSE header (part 1) {fault}"),
            Self::NoAlgorithm => f.write_str("the JOSE header (part 1) has no text `alg`"),
            Self::Claims(fault) => write!(f, "the claims set (part 2) {fault}"),
        }
    }
}

impl std::error::Error for DecodeError {}

impl fmt::Display for SegmentFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBase64Url => f.write_str("is not base64url without padding"),
            Self::Json(fault) => fault.fmt(f),
        }
    }
}

impl From<JsonFault> for SegmentFault {
    fn from(fault: JsonFault) -> Self {
        Self::Json(fault)
    }
}
