//! `/metrics`: the exposition on its way to a scraper, plain or gzipped, never held as a whole.

use super::Shown;
use super::gate::Reply;
use super::gzip;
use crate::metrics::{CONTENT_TYPE, encode};
use crate::snapshot::Snapshot;
use crate::time::UnixSeconds;
use std::io;
use std::sync::Arc;
use tiny_http::Request;

/// Streams the answer.
pub(super) fn respond(request: &Request, reply: &mut Reply, snapshot: &Arc<Snapshot>, shown: &Shown) -> io::Result<()> {
    let accepts = request.headers().iter().filter(|header| header.field.equiv("Accept-Encoding"));
    let zipped = accepts.map(|header| header.value.as_str()).any(accepts_gzip);
    let headers = [("Content-Type", CONTENT_TYPE), ("Vary", "Accept-Encoding"), ("Content-Encoding", "gzip")];
    let headers = headers.get(..if zipped { 3 } else { 2 }).unwrap_or_default();
    let Some(mut body) = reply.stream(headers)? else { return Ok(()) };
    let now = UnixSeconds::now();
    if zipped {
        gzip::write_gzip(snapshot, &shown.own, now, &shown.lasting, &mut body)?;
    } else {
        encode(snapshot, &shown.own, now, &mut body)?;
    }
    body.end()
}

/// Whether an `Accept-Encoding` field lets us send gzip (RFC 9110, section 12.5.3).
fn accepts_gzip(field: &str) -> bool {
    let mut by_star = false;
    for coding in field.split(',') {
        let mut parts = coding.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let refused = parts.any(|parameter| {
            let weight = parameter.strip_prefix(['q', 'Q']).and_then(|rest| rest.trim_start().strip_prefix('='));
            weight.and_then(|weight| weight.trim().parse::<f32>().ok()) == Some(0.0)
        });
        if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") {
            return !refused;
        }
        by_star |= name == "*" && !refused;
    }
    by_star
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_sent_to_those_who_take_it() {
        for yes in ["gzip", "deflate, gzip;q=1.0, *;q=0.5", "GZIP", "*", "identity;q=0, x-gzip ; q=0.1"] {
            assert!(accepts_gzip(yes), "{yes}");
        }
        for no in ["", "identity", "gzip;q=0", "*, gzip; q=0.0", "*;q=0", "br", "gzipped"] {
            assert!(!accepts_gzip(no), "{no}");
        }
    }
}
