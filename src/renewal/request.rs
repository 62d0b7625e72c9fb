//! Asks the endpoint: one exchange over a connection of its own, made anew for every try, so that a replaced CA file counts.

use super::attempt::Issuer;
use super::credentials::Values;
use super::plan::{Clusters, Renewal, RequestPlan};
use super::reason::{Failure, Reason};
use super::template::{RenderError, Template};
use super::verdict::token_of;
use crate::http_client::{
    Agent, AgentSettings, Body, HttpError, Method, Proxy, Request, Response, Trust, TrustBundle, TrustError,
};
use crate::kubernetes::access::choose_proxy;
use crate::redacted::{Redacted, read_wiped};
use crate::time::UnixSeconds;
use crate::whole_file;
use std::path::PathBuf;
use std::time::Duration;
use zeroize::Zeroizing;

/// No more of an answer is read: the largest token has a quarter of this.
const MOST_BYTES: usize = 1 << 20;

/// Longest time for a connection; the request's own `timeout` counts too.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// A CA file has a few KiB.
const MOST_CA_BYTES: usize = 16 << 20;

/// A variable of the environment.
pub type Environment = dyn Fn(&str) -> Option<String> + Send + Sync;

/// The endpoint of one renewal.
pub(super) struct Endpoint<'a> {
    pub(super) renewal: &'a Renewal,
    pub(super) clusters: &'a Clusters,
    pub(super) environment: &'a Environment,
}

impl Issuer for Endpoint<'_> {
    fn ask(&mut self) -> Result<Redacted, Failure> {
        let plan = &self.renewal.request;
        let values = Values::read(&self.renewal.credentials, &plan.variables(), self.clusters)?;
        let prepared = prepare(plan, &values, self.environment)?;
        drop(values);
        let answer = read(plan, send(plan, &prepared)?)?;
        let token = token_of(&answer, &self.renewal.token);
        token.map_err(|failure| Failure { message: format!("{}: {failure}", what(plan)), ..failure })
    }
}

/// `POST https://cpd.example:443`: what messages say of a request. Its path may hold a value.
fn what(plan: &RequestPlan) -> String {
    let method = method_name(plan.method);
    let (scheme, host, port) = (plan.origin.scheme(), plan.origin.host(), plan.origin.port());
    if host.contains(':') {
        format!("{method} {scheme}://[{host}]:{port}")
    } else {
        format!("{method} {scheme}://{host}:{port}")
    }
}

/// As it stands in a request.
pub(super) fn method_name(method: Method) -> &'static str {
    match method {
        Method::Get => "GET",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Patch => "PATCH",
    }
}

/// A request put together, and the way to its server.
pub(super) struct Prepared<'a> {
    url: Redacted,
    headers: Vec<(&'a str, Redacted)>,
    body: Option<Redacted>,
    agent: Agent,
}

/// Puts a request together, and sends nothing.
///
/// # Errors
/// What keeps it from being sent.
pub(super) fn prepare<'a>(
    plan: &'a RequestPlan,
    values: &Values,
    environment: &Environment,
) -> Result<Prepared<'a>, Failure> {
    let render = |template: &Template, place: &str| {
        template.render(&|name| values.get(name)).map_err(|error| {
            let reason = match error {
                RenderError::Missing { .. } => Reason::MissingVariable,
                RenderError::InHeader { .. } | RenderError::OuterSpace | RenderError::DotSegment => Reason::BadValue,
            };
            Failure::new(reason, format!("{}: {place}: {error}", what(plan)))
        })
    };
    let url = render(&plan.url, "url")?;
    let mut headers = Vec::new();
    for (name, value) in &plan.headers {
        headers.push((name.as_str(), render(value, &format!("header {name}"))?));
    }
    let body = plan.body.as_ref().map(|body| render(body, "body")).transpose()?;
    Ok(Prepared { url, headers, body, agent: agent(plan, environment)? })
}

fn send(plan: &RequestPlan, prepared: &Prepared<'_>) -> Result<Response, Failure> {
    let Prepared { url, headers, body, agent } = prepared;
    let accept = headers.iter().all(|(name, _)| !name.eq_ignore_ascii_case("accept"));
    let mut sent: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.expose())).collect();
    sent.extend(accept.then_some(("Accept", "application/json")));
    let response = agent
        .send(&Request {
            method: plan.method,
            url: url.expose(),
            headers: &sent,
            authorization: None,
            body: body.as_ref().map(|body| body.expose().as_bytes()),
            deadline: Some(plan.timeout),
            per_read: plan.timeout,
        })
        .map_err(|error| failed(plan, &error))?;
    if (200..300).contains(&response.status) { Ok(response) } else { Err(refused(plan, &response)) }
}

fn failed(plan: &RequestPlan, error: &HttpError) -> Failure {
    let cause = match error {
        // Whatever it was, it was about our texts.
        HttpError::BadRequest { .. } => "the request cannot be sent; look at `url` and `headers`".to_owned(),
        HttpError::Tls { .. } if plan.ca_file.is_none() => {
            format!("{error}; is it a CA of your own? Then name it in `ca_file`")
        }
        _ => error.to_string(),
    };
    Failure::new(Reason::of_http(error), format!("{}: {cause}", what(plan)))
}

/// Nothing of the answer's body is told: endpoints repeat what they refuse.
fn refused(plan: &RequestPlan, response: &Response) -> Failure {
    let status = response.status;
    let reason = Reason::of_status(status);
    let advice = match reason {
        Reason::Redirect => "; credentials are sent to no other place: name the right URL",
        Reason::CredentialsRefused => "; are user and password right, and not locked?",
        _ => "",
    };
    let retry_after = response.retry_after(UnixSeconds::now());
    let retry_after = retry_after.map(|wait| i64::try_from(wait.as_secs()).unwrap_or(i64::MAX));
    Failure { reason, message: format!("{}: status {status}{advice}", what(plan)), retry_after }
}

fn read(plan: &RequestPlan, mut response: Response) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let answer = read_wiped(&mut response.body, MOST_BYTES).map_err(|error| failed(plan, &Body::error(error)))?;
    if answer.len() > MOST_BYTES {
        let message = format!("{}: the answer has more than {MOST_BYTES} bytes", what(plan));
        return Err(Failure::new(Reason::AnswerTooLarge, message));
    }
    Ok(answer)
}

fn agent(plan: &RequestPlan, environment: &Environment) -> Result<Agent, Failure> {
    let bad = |cause: String| Failure::new(Reason::BadSettings, format!("{}: {cause}", what(plan)));
    let system = || {
        let named = environment("SSL_CERT_FILE").filter(|path| !path.is_empty()).map(PathBuf::from);
        TrustBundle::system(named.as_deref()).map_err(|error| match error {
            TrustError::NoSystemBundle => bad("there are no CAs of the system; name one in `ca_file`".to_owned()),
            other => bad(other.to_string()),
        })
    };
    let trust = match &plan.ca_file {
        _ if plan.insecure_skip_verify || !plan.origin.is_https() => Trust::Anyone,
        Some(path) => {
            let origin = format!("ca_file: {}", path.display());
            let pem = whole_file::read(path, MOST_CA_BYTES).map_err(|error| bad(format!("{origin}: {error}")))?;
            Trust::Bundle(TrustBundle::from_pem(&pem, &origin).map_err(|error| bad(error.to_string()))?)
        }
        None => Trust::Bundle(system()?),
    };
    let proxy = choose_proxy(&plan.origin, &|name| environment(name)).map_err(|error| bad(error.to_string()))?;
    let proxy_trust = proxy.as_ref().filter(|proxy| Proxy::is_https(proxy)).map(|_| system()).transpose()?;
    let settings = AgentSettings {
        trust,
        identity: None,
        server_name: None,
        proxy,
        proxy_trust,
        compression: false,
        connect_timeout: CONNECT_TIMEOUT.min(plan.timeout),
    };
    Agent::new(&settings).map_err(|error| failed(plan, &error))
}
