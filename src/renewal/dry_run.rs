//! What a renewal would do now, without asking the endpoint and without writing anything.

use super::attempt::{Held, Target as _};
use super::claim::Claim;
use super::course::{Course, Next};
use super::credentials::Values;
use super::errand::LOOK_SECRET;
use super::means::LoginsOf;
use super::plan::{Clusters, CredentialsPlan, Renewal, TargetPlan};
use super::reason::Failure;
use super::request::{method_name, prepare};
use super::target::file::FileTarget;
use super::target::secret::SecretTarget;
use super::verdict::Found;
use super::{Environment, Template};
use crate::kubernetes::{Cluster, Verb, may};
use crate::log::escape;
use crate::time::UnixSeconds;
use std::fmt::Write as _;

/// The answer for one renewal.
pub struct DryRun {
    /// For people, several lines.
    pub text: String,
    /// Nothing is in the way.
    pub all_well: bool,
}

/// A right that a renewal needs.
struct Right<'a> {
    context: Option<&'a str>,
    verb: Verb,
    namespace: &'a str,
    /// `None`: any name, for `create` cannot be limited to one.
    name: Option<&'a str>,
}

/// Looks at the target and the credentials, and asks the API server whether it would let us.
#[must_use]
pub fn dry_run(
    renewal: &Renewal,
    clusters: &Clusters,
    logins: &LoginsOf,
    environment: &Environment,
    now: UnixSeconds,
) -> DryRun {
    let mut report = DryRun { text: format!("{}\n", escape(&renewal.target.to_string())), all_well: true };
    report.when(renewal, clusters, logins, now);
    report.request(renewal);
    let credentials = Values::read(&renewal.credentials, &renewal.request.variables(), clusters);
    match credentials.and_then(|values| prepare(&renewal.request, &values, environment).map(drop)) {
        Ok(()) => report.line("can be sent: the credentials have every variable, and the settings can be used"),
        Err(failure) => report.trouble(&failure),
    }
    for right in rights(renewal) {
        if let Some(cluster) = clusters.get(right.context) {
            report.right(cluster, &right);
        }
    }
    report
}

impl DryRun {
    fn line(&mut self, line: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "  {line}");
    }

    fn trouble(&mut self, failure: &Failure) {
        self.all_well = false;
        self.line(&format!("in the way ({}): {}", failure.reason.as_str(), escape(&failure.message)));
    }

    fn when(&mut self, renewal: &Renewal, clusters: &Clusters, logins: &LoginsOf, now: UnixSeconds) {
        let held = match &renewal.target {
            TargetPlan::Secret { context, namespace, name, key, create } => {
                let Some(cluster) = clusters.get(context.as_deref()) else { return };
                SecretTarget::new(cluster, (namespace, name, key), create.as_deref()).read()
            }
            TargetPlan::File(path) => FileTarget::new(path).read(),
        };
        let Held { found, claim, logins: annotation } = match held {
            Ok(held) => held,
            Err(failure) => return self.trouble(&failure),
        };
        let state = match &found {
            Found::Missing => "there is no token".to_owned(),
            Found::Unreadable(why) => format!("what is there is no token: {}", escape(why)),
            Found::Token(dates) => match dates.expires {
                Some(at) if at <= now => format!("the token has expired at {at}"),
                Some(at) => format!("the token expires at {at}"),
                None => "the token never expires".to_owned(),
            },
        };
        let mut course = Course::new(renewal.policy);
        course.observe(found, now, &mut || 0.0);
        let when = match course.next() {
            Next::Never => "it would be left alone".to_owned(),
            Next::At(at) if at <= now => "it would be renewed now".to_owned(),
            Next::At(at) => format!("it would be renewed at {at}, or up to a tenth of that time earlier"),
            Next::Unknown => "it would be looked at".to_owned(),
        };
        self.line(&format!("{state}; {when}"));
        let longest = course.longest_claim(LOOK_SECRET);
        if let Some(Claim { holder, until, failures }) = claim.filter(|claim| claim.holds(now, longest)) {
            let why = if failures == 0 { "is renewing it" } else { "could not renew it" };
            self.line(&format!("{} {why}: nobody else tries before {until}", escape(&holder)));
        }
        let names = logins(&renewal.target, annotation.as_deref());
        if !names.is_empty() {
            let names: Vec<String> = names.iter().map(|name| format!("{}/{}", name.login, name.role)).collect();
            self.line(&format!("the new token would have to pass the logins {}", names.join(", ")));
        }
    }

    /// The request with its variables unresolved. A literal may be a credential by mistake: shown is what has a variable in it,
    /// or is known to be harmless.
    fn request(&mut self, renewal: &Renewal) {
        let plan = &renewal.request;
        let shown = |template: &Template, harmless: bool| {
            if harmless || template.variables().next().is_some() {
                escape(template.as_written()).into_owned()
            } else {
                format!("({} bytes without variables)", template.as_written().len())
            }
        };
        let url = plan.url.as_written();
        let (path, query) = url.split_once('?').map_or((url, ""), |(path, _)| (path, "?…"));
        let url = if plan.url.variables().next().is_some() { url.to_owned() } else { format!("{path}{query}") };
        self.line(&format!("{} {}", method_name(plan.method), escape(&url)));
        for (name, value) in &plan.headers {
            let harmless = ["accept", "content-type"].iter().any(|known| name.eq_ignore_ascii_case(known));
            self.line(&format!("{name}: {}", shown(value, harmless)));
        }
        if let Some(body) = &plan.body {
            self.line(&shown(body, false));
        }
        let source = match &renewal.credentials {
            CredentialsPlan::Secret { namespace, name, .. } => format!("the Secret {namespace}/{name}"),
            CredentialsPlan::Files(_) => "files".to_owned(),
            CredentialsPlan::None => return,
        };
        let variables = plan.variables();
        if !variables.is_empty() {
            self.line(&format!("variables: {}, from {source}", variables.join(", ")));
        }
        if plan.is_insecure() {
            self.line("insecure: whoever sits on the way can read the credentials");
        }
    }

    fn right(&mut self, cluster: &Cluster, right: &Right<'_>) {
        let Right { verb, namespace, name, .. } = right;
        let place = name.map_or_else(|| format!("secrets in {namespace}"), |name| format!("secret {namespace}/{name}"));
        match may(cluster, *verb, ("", "secrets"), (Some(*namespace), *name)) {
            Ok(true) => {}
            Ok(false) => {
                self.all_well = false;
                let names = name.map_or_else(String::new, |name| format!(", resourceNames: [{name}]"));
                self.line(&format!(
                    "missing right: {verb} {place}; a Role in {namespace} needs {{apiGroups: [\"\"], resources: [secrets], \
                     verbs: [{verb}]{names}}}"
                ));
            }
            Err(error) => {
                self.all_well = false;
                self.line(&format!("unknown whether we may {verb} {place}: {error}"));
            }
        }
    }
}

fn rights(renewal: &Renewal) -> Vec<Right<'_>> {
    let mut rights = Vec::new();
    if let TargetPlan::Secret { context, namespace, name, create, .. } = &renewal.target {
        let right = |verb, name| Right { context: context.as_deref(), verb, namespace, name };
        rights.push(right(Verb::Get, Some(name.as_str())));
        rights.push(right(Verb::Patch, Some(name.as_str())));
        rights.extend(create.is_some().then(|| right(Verb::Create, None)));
    }
    if let CredentialsPlan::Secret { context, namespace, name } = &renewal.credentials {
        rights.push(Right { context: context.as_deref(), verb: Verb::Get, namespace, name: Some(name) });
    }
    rights
}
