//! Names to addresses.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::mpsc;
use std::time::Duration;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use super::error::{HttpError, TimeoutPhase};

/// No more addresses than this are tried.
const MAX_ADDRESSES: usize = 16;

/// Stands where `ureq` wants a resolver. `ureq` asks at every request, even if a connection is at hand; so this one has
/// nothing to say, and [`look_up`] is called by whoever really connects.
#[derive(Debug)]
pub(super) struct LaterResolver;

impl Resolver for LaterResolver {
    fn resolve(
        &self,
        _: &ureq::http::Uri,
        _: &ureq::config::Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        Ok(self.empty())
    }
}

/// The addresses of a host. An address is its own answer; a name is looked up on a thread, since the system's resolver
/// cannot be interrupted and knows no deadline but its own.
pub(super) fn look_up(host: &str, port: u16, within: Duration) -> Result<Vec<SocketAddr>, HttpError> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let unknown = |cause: String| HttpError::UnknownHost { host: host.to_owned(), cause };
    let (answer, answered) = mpsc::sync_channel(1);
    let target = (host.to_owned(), port);
    std::thread::Builder::new()
        .name("name-lookup".to_owned())
        .spawn(move || {
            // Nobody waits any longer: then the answer is dropped.
            let _ = answer.send(target.to_socket_addrs().map(|found| found.take(MAX_ADDRESSES).collect::<Vec<_>>()));
        })
        .map_err(|error| unknown(error.to_string()))?;
    match answered.recv_timeout(within) {
        Ok(Ok(found)) if found.is_empty() => Err(unknown("it has no address".to_owned())),
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => Err(unknown(error.to_string())),
        Err(_) => Err(HttpError::Timeout(TimeoutPhase::Lookup)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_its_own_answer() {
        for host in ["127.0.0.1", "::1"] {
            let found = look_up(host, 443, Duration::ZERO).unwrap();
            assert_eq!(found, [SocketAddr::new(host.parse().unwrap(), 443)]);
        }
    }

    #[test]
    fn a_name_that_is_not_there_is_named() {
        let error = look_up("no-such-host.invalid", 443, Duration::from_secs(60)).unwrap_err();
        assert!(matches!(&error, HttpError::UnknownHost { host, .. } if host == "no-such-host.invalid"), "{error:?}");
    }
}
