//! What is kept of a Secret: the text that its samples are made of, absolute times, and what could not be read.
//!
//! An [`Observer`] takes a [`SecretView`], decodes what it finds in it and makes a [`SecretObservation`]. Of a token
//! nothing else stays: no segment, no signature, no claim that is not exposed (a token that is held against logins is the one
//! exception: it is kept whole, and wiped when it is replaced). The bounds of the configuration are applied
//! here, while decoding, so that no tenant's Secret can make us hold more than they allow.

mod document;
mod findings;
mod kept;
mod label_set;
mod observer;
mod read_back;
mod reason;
mod secret;
mod showing;
mod token;
mod view;

pub use document::{DocumentFault, search as search_document};
pub use kept::{KeptToken, LoginName, Logins, MAX_LOGINS};
pub use label_set::{
    ExtraLabels, ExtraLength, LabelMap, MAX_LABEL_BYTES, cluster_label, label_value, push_label, without_tokens,
};
pub use observer::{Observer, Reading};
pub use read_back::labels;
pub use reason::Reason;
pub use secret::{SecretObservation, TokenError};
pub use showing::{Showing, Showings, TokenSeries};
pub use token::{Bounds, LabelSets, TokenObservation, location};
pub use view::{DataValue, FileView, MAX_VALUE_BYTES, SecretView};
