//! The thread of the renewals: there only while there is something to renew.

use crate::renewal::{Errand, Means, Renewal};

/// The thread, if it runs. It stops when this is dropped.
#[derive(Default)]
pub(super) struct Renewals {
    errand: Option<Errand>,
}

impl Renewals {
    /// Goes on with these renewals, started or stopped as they want it. One that was there before as it is now keeps its state.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub(super) fn take(&mut self, renewals: Vec<Renewal>, means: Means) -> Result<(), String> {
        warn_of_insecure(&renewals);
        match &self.errand {
            Some(errand) if !renewals.is_empty() => errand.replace(renewals, means),
            Some(_) => {
                self.errand = None;
                means.own.publish_renewals(Vec::new());
            }
            None if renewals.is_empty() => {}
            None => {
                let errand = Errand::start(renewals, means)
                    .map_err(|error| format!("the thread renewals cannot be started: {error}"))?;
                self.errand = Some(errand);
            }
        }
        Ok(())
    }
}

fn warn_of_insecure(renewals: &[Renewal]) {
    for renewal in renewals.iter().filter(|renewal| renewal.request.is_insecure()) {
        let (target, origin) = (&renewal.target, &renewal.request.origin);
        let why = if origin.is_https() {
            "insecure_skip_verify: its certificate is not verified"
        } else {
            "it speaks no TLS"
        };
        log::warn!(
            "renewal of {target}: whoever sits on the way to {origin} can read the credentials and hand out tokens ({why})"
        );
    }
}
