//! Decodes JSON Web Tokens without trusting them: compact serialization → JOSE header → claims set.
//!
//! Nothing here verifies a signature, reads a clock or keeps a token: an [`UnverifiedJwt`] borrows from the
//! [`Decoder`]'s two buffers and is gone when the next token is decoded. Sources: RFC 7515 (JWS), RFC 7516 (JWE),
//! RFC 7519 (JWT).

mod claims;
mod compact;
mod decoder;
mod der;
mod error;
pub mod jwk;
mod masking;
mod modular;
mod opened;
mod pointer;
mod pseudonym;
mod public_key;
pub mod signature;

pub use claims::{ClaimPaths, ClaimsSet, NumericDate};
pub use compact::{MAX_TOKEN_BYTES, Segments, looks_like_jwt, without_decoration};
pub use decoder::{Decoder, TokenType, UnverifiedJwt, decode_base64};
pub use error::{DecodeError, SegmentFault};
pub use masking::without_tokens;
pub use opened::OpenedJwt;
pub use pointer::{JsonPointer, PointerError, push_token};
pub use pseudonym::PseudonymKey;
pub use public_key::{Curve, PemFault, PublicKey};
